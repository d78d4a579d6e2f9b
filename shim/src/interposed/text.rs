//! A message put together on the stack.
//!
//! # Safety
//! Strings that come from outside are read up to their end, or to the end of the room that is left.
#![expect(unsafe_code, reason = "C strings")]

use std::ffi::c_char;

/// A longer message is cut.
const BYTES_MAX: usize = 512;

/// The message, so far.
pub(super) struct Text {
    bytes: [u8; BYTES_MAX],
    length: usize,
}

impl Text {
    pub(super) const fn new() -> Self {
        Self { bytes: [0; BYTES_MAX], length: 0 }
    }

    /// Adds text, as much as there is room for.
    pub(super) fn add(mut self, text: &[u8]) -> Self {
        for (place, byte) in self.bytes.iter_mut().skip(self.length).zip(text) {
            *place = *byte;
            self.length += 1;
        }
        self
    }

    /// Adds a C string, as much as there is room for; nothing for null.
    ///
    /// # Safety
    /// The pointer must be null or lead to a string that ends with a zero byte.
    pub(super) unsafe fn add_c(mut self, text: *const c_char) -> Self {
        if text.is_null() {
            return self;
        }
        let mut from = text.cast::<u8>();
        for place in self.bytes.iter_mut().skip(self.length) {
            // SAFETY: no byte before this one was the string's last.
            let byte = unsafe { from.read() };
            if byte == 0 {
                break;
            }
            *place = byte;
            self.length += 1;
            from = from.wrapping_add(1);
        }
        self
    }

    /// Adds a number.
    pub(super) fn add_number(self, number: u32) -> Self {
        let mut digits = [b'0'; 10];
        let mut rest = number;
        let mut first = digits.len() - 1;
        for (index, digit) in digits.iter_mut().enumerate().rev() {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
            if rest != 0 {
                first = index;
            }
            rest /= 10;
        }
        self.add(digits.get(first..).unwrap_or_default())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_its_parts() {
        // SAFETY: a C string.
        let text = unsafe { Text::new().add(b"a:").add_c(c"bc".as_ptr()) };
        let text = text.add(b":").add_number(0).add(b" ").add_number(4_294_967_295).add(b" ").add_number(10);
        assert_eq!(text.bytes(), b"a:bc:0 4294967295 10");
    }

    #[test]
    fn a_text_that_is_too_long_is_cut() {
        let long = vec![b'x'; BYTES_MAX];
        // SAFETY: a C string.
        let text = unsafe { Text::new().add(b"ab").add(&long).add_c(c"more".as_ptr()) }.add_number(7);
        assert_eq!(text.bytes().len(), BYTES_MAX);
        assert_eq!(&text.bytes()[..3], b"abx");
    }
}
