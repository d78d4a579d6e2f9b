//! Protection keys: fifteen for the whole process, handed from domain to domain.
//!
//! A domain that is used while it has a key pays nothing for it. One that has none takes a free key, else that of a domain nobody is
//! inside of, whose pages lose it first: no page ever carries the key of another domain.
//!
//! # Safety
//! Asks the kernel for keys; they are never given back to it, so a key in a rights register never changes its meaning.
#![expect(unsafe_code, reason = "pkey_alloc")]

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use ringfence_core::{Error, Unavailable};

use crate::NAME;
use crate::control::{KEYS, OPEN};
use crate::region::Region;

/// By key: the tenant that has it, doubled, and one more while it is in use. Zero: nobody, or not ours.
static SEATS: [AtomicU64; KEYS] = [const { AtomicU64::new(0) }; KEYS];
static POOL: Mutex<Pool> = Mutex::new(Pool { ours: 0, tenants: [const { None }; KEYS] });
static RELEASED: Condvar = Condvar::new();
/// Threads that wait for a key. To notify a condition variable is a system call, waiters or none.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// A key whose pages could not be taken back: never used again.
const LOST: u64 = u64::MAX;

#[derive(Debug)]
struct Pool {
    /// The keys the kernel gave us, as bits.
    ours: u16,
    tenants: [Option<Arc<Region>>; KEYS],
}

/// A region that wants a key while it is in use.
#[derive(Debug)]
pub(crate) struct Tenant {
    id: u64,
    region: Arc<Region>,
    /// The key it had last; a guess.
    seat: AtomicU32,
}

impl Tenant {
    pub(crate) fn new(region: Region) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self { id: NEXT.fetch_add(1, Ordering::Relaxed), region: Arc::new(region), seat: AtomicU32::new(0) }
    }

    pub(crate) fn region(&self) -> &Region {
        &self.region
    }

    /// The key it has, while it is held.
    pub(crate) fn key(&self) -> u32 {
        self.seat.load(Ordering::Relaxed)
    }

    fn idle(&self) -> u64 {
        self.id << 1
    }

    /// Has a key, and keeps it until [`release`](Self::release). Waits while other domains use all keys.
    ///
    /// # Cost
    /// One atomic operation if it still has the key it had; else up to ten system calls.
    pub(crate) fn acquire(&self) -> Result<u32, Error> {
        let key = self.seat.load(Ordering::Relaxed);
        match SEATS.get(key as usize) {
            Some(seat) if take(seat, self.idle(), self.idle() | 1) => Ok(key),
            _ => self.acquire_another(),
        }
    }

    #[cold]
    fn acquire_another(&self) -> Result<u32, Error> {
        let mut pool = lock();
        loop {
            if let Some(key) = pool.vacant()? {
                return self.move_in(&mut pool, key);
            }
            WAITING.fetch_add(1, Ordering::SeqCst);
            // Looked at again after the count went up: who released a key since then has seen it, or has made it vacant before.
            let vacant = pool.vacant();
            if matches!(vacant, Ok(None)) {
                pool = RELEASED.wait(pool).unwrap_or_else(PoisonError::into_inner);
            }
            WAITING.fetch_sub(1, Ordering::SeqCst);
            if let Some(key) = vacant? {
                return self.move_in(&mut pool, key);
            }
        }
    }

    /// Takes a key that is reserved for this call.
    fn move_in(&self, pool: &mut Pool, key: u32) -> Result<u32, Error> {
        let (Some(seat), Some(tenant)) = (SEATS.get(key as usize), pool.tenants.get_mut(key as usize)) else {
            return Err(Error::os("find a key's seat", Errno::EINVAL));
        };
        if let Some(evicted) = tenant.take()
            && let Err(error) = evicted.park()
        {
            seat.store(LOST, Ordering::SeqCst);
            RELEASED.notify_one();
            return Err(error);
        }
        if let Err(error) = self.region.tag(key) {
            // Some of its pages may carry the key by now.
            let parked = self.region.park();
            seat.store(if parked.is_ok() { 0 } else { LOST }, Ordering::SeqCst);
            RELEASED.notify_one();
            return Err(error);
        }
        *tenant = Some(Arc::clone(&self.region));
        self.seat.store(key, Ordering::Relaxed);
        seat.store(self.idle() | 1, Ordering::SeqCst);
        Ok(key)
    }

    /// Others may take the key from now on.
    pub(crate) fn release(&self) {
        let key = self.seat.load(Ordering::Relaxed);
        if let Some(seat) = SEATS.get(key as usize) {
            take(seat, self.idle() | 1, self.idle());
        }
        if WAITING.load(Ordering::SeqCst) > 0 {
            // Under the lock, so that the one who counted itself is asleep or has looked.
            let _pool = lock();
            RELEASED.notify_one();
        }
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        if ringfence_core::origin::is_forked() {
            return;
        }
        let mut pool = lock();
        let key = self.seat.load(Ordering::Relaxed);
        let (Some(seat), Some(tenant)) = (SEATS.get(key as usize), pool.tenants.get_mut(key as usize)) else {
            return;
        };
        let state = seat.load(Ordering::SeqCst);
        if state != LOST && state >> 1 == self.id {
            *tenant = None;
            // Its pages lose the key before anyone else can have it.
            let parked = self.region.park();
            seat.store(if parked.is_ok() { 0 } else { LOST }, Ordering::SeqCst);
            RELEASED.notify_one();
        }
    }
}

/// Has a key from the kernel, if there is none yet.
///
/// # Errors
/// That none can be had.
pub(crate) fn have_one() -> Result<(), Error> {
    let mut pool = lock();
    if pool.ours == 0 {
        pool.vacant()?;
    }
    Ok(())
}

impl Pool {
    /// A key nobody uses, reserved for the caller, who holds the lock: one that is free, a new one, or that of an idle tenant.
    fn vacant(&mut self) -> Result<Option<u32>, Error> {
        let ours: Vec<u32> = (1..KEYS as u32).filter(|key| self.ours >> key & 1 == 1).collect();
        let seats = || ours.iter().filter_map(|key| SEATS.get(*key as usize).map(|seat| (*key, seat)));
        // Free seats change under the lock only.
        if let Some((key, _)) = seats().find(|(_, seat)| seat.load(Ordering::SeqCst) == 0) {
            return Ok(Some(key));
        }
        match allocate() {
            Ok(key) => {
                self.ours |= 1 << key;
                return Ok(Some(key));
            }
            Err(errno) if ours.is_empty() => {
                let reason = format!("no protection key can be had: {}", errno.desc());
                return Err(Unavailable::backend(NAME, reason).into());
            }
            Err(_) => {}
        }
        let idle = |seat: &AtomicU64| {
            let state = seat.load(Ordering::SeqCst);
            state != LOST && state & 1 == 0 && take(seat, state, state | 1)
        };
        Ok(seats().find(|(_, seat)| idle(seat)).map(|(key, _)| key))
    }
}

fn take(seat: &AtomicU64, from: u64, to: u64) -> bool {
    seat.compare_exchange(from, to, Ordering::SeqCst, Ordering::Relaxed).is_ok()
}

fn lock() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A key from the kernel, which opens it for the calling thread.
fn allocate() -> Result<u32, Errno> {
    // SAFETY: two numbers.
    let key = Errno::result(unsafe { libc::syscall(libc::SYS_pkey_alloc, 0, 0) })?;
    let key = u32::try_from(key).map_err(|_| Errno::EINVAL)?;
    if !(1..KEYS as u32).contains(&key) {
        return Err(Errno::EINVAL);
    }
    OPEN.fetch_and(!(3 << (2 * key)), Ordering::SeqCst);
    Ok(key)
}
