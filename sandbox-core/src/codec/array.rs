//! Builds an array from a fallible step.
//!
//! # Safety
//!
//! Unsafe code here treats the first `filled` elements of a partly filled array as initialised. Only
//! [`try_from_fn`] touches `filled`, and raises it after the element has been written.
#![expect(unsafe_code, reason = "the standard library's `try_from_fn` for arrays is not stable")]

use core::mem::{ManuallyDrop, MaybeUninit};
use core::ptr;

/// The array of `N` values that `make` returns, or its first error; what was made until then is dropped.
#[inline]
pub(super) fn try_from_fn<T, E, const N: usize>(mut make: impl FnMut() -> Result<T, E>) -> Result<[T; N], E> {
    let mut partial = Partial { items: [const { MaybeUninit::uninit() }; N], filled: 0 };
    for index in 0..N {
        partial.items[index].write(make()?);
        partial.filled = index + 1;
    }
    let whole = ManuallyDrop::new(partial);
    // SAFETY: all `N` elements are initialised, `MaybeUninit<T>` has the layout of `T`, and `ManuallyDrop`
    // leaves them to the copy alone.
    Ok(unsafe { ptr::from_ref(&whole.items).cast::<[T; N]>().read() })
}

struct Partial<T, const N: usize> {
    items: [MaybeUninit<T>; N],
    filled: usize,
}

impl<T, const N: usize> Drop for Partial<T, N> {
    fn drop(&mut self) {
        for item in &mut self.items[..self.filled] {
            // SAFETY: the first `filled` elements are initialised, and nothing reads them after this.
            unsafe { item.assume_init_drop() };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn values_arrive_in_order() {
        let mut next = 0;
        let made: Result<[String; 3], ()> = try_from_fn(|| {
            next += 1;
            Ok(next.to_string())
        });
        assert_eq!(made.unwrap(), ["1", "2", "3"]);
    }

    #[test]
    fn an_error_drops_what_was_made() {
        let witness = Rc::new(());
        let mut left = 2;
        let made: Result<[Rc<()>; 4], &str> = try_from_fn(|| {
            left -= 1;
            if left < 0 { Err("enough") } else { Ok(Rc::clone(&witness)) }
        });
        assert_eq!(made.unwrap_err(), "enough");
        assert_eq!(Rc::strong_count(&witness), 1);
    }
}
