// SPDX-License-Identifier: Apache-2.0
//! The registration lock of a table: a heavyweight lock under which rows are registered and the latest state is
//! searched (docs/decisions/0004). It is held for moments, never while waiting for a transaction and never until
//! commit; an error gives it up with the transaction's other locks.
use crate::pg::toast::Toast;
use pgrx::pg_sys;

/// The mode of the lock: by how many rows the holder registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One row: compatible with other single rows.
    Shared,
    /// Many rows, or a move: alone.
    Exclusive,
}

/// A held registration lock; dropping it releases it.
pub struct RegistrationLock {
    tag: pg_sys::LOCKTAG,
    mode: pg_sys::LOCKMODE,
}

impl RegistrationLock {
    /// Waits for the registration lock of a table and takes it.
    pub fn acquire(toast: &Toast, mode: Mode) -> Self {
        let registration = Self::of(toast, mode);
        // SAFETY: a valid lock tag on our stack.
        unsafe { pg_sys::LockAcquire(&registration.tag, registration.mode, false, false) };
        registration
    }

    /// Takes the registration lock of a table if nobody has to be waited for; not while a standby recovers.
    pub fn try_acquire(toast: &Toast, mode: Mode) -> Option<Self> {
        let registration = Self::of(toast, mode);
        // SAFETY: plain call; a valid lock tag on our stack.
        let taken = unsafe {
            !pg_sys::RecoveryInProgress()
                && pg_sys::LockAcquire(&registration.tag, registration.mode, false, true)
                    != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
        };
        if !taken {
            std::mem::forget(registration);
            return None;
        }
        Some(registration)
    }

    /// Whether its holder is alone.
    pub fn is_exclusive(&self) -> bool {
        self.mode == pg_sys::ExclusiveLock as pg_sys::LOCKMODE
    }

    fn of(toast: &Toast, mode: Mode) -> Self {
        let mode = match mode {
            Mode::Shared => pg_sys::ShareLock,
            Mode::Exclusive => pg_sys::ExclusiveLock,
        };
        Self {
            tag: tag(toast, REGISTRATION),
            mode: mode as pg_sys::LOCKMODE,
        }
    }
}

/// The sub-object of the registration lock; those above are key locks.
const REGISTRATION: u16 = 1;

/// As SET_LOCKTAG_OBJECT: the object is the TOAST relation; no other locks have these sub-objects.
fn tag(toast: &Toast, part: u16) -> pg_sys::LOCKTAG {
    // SAFETY: an open relation.
    let relation = unsafe { (*toast.rel).rd_id.to_u32() };
    // SAFETY: plain variable of this backend.
    let database = unsafe { pg_sys::MyDatabaseId.to_u32() };
    pg_sys::LOCKTAG {
        locktag_field1: database,
        locktag_field2: pg_sys::RelationRelationId.to_u32(),
        locktag_field3: relation,
        locktag_field4: part,
        locktag_type: pg_sys::LockTagType::LOCKTAG_OBJECT as u8,
        locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
    }
}

/// Makes single rows of one key, or of keys of one hash, wait for each other where the key index does not do it. It is
/// taken with the registration lock held and released as soon: the holder of a key lock never waits for that.
pub struct KeyLock {
    tag: pg_sys::LOCKTAG,
}

impl KeyLock {
    /// Waits for the lock of the keys of a hash and takes it.
    pub fn acquire(toast: &Toast, hash: u64) -> Self {
        let part = REGISTRATION + 1 + (hash % 65_000) as u16;
        let tag = tag(toast, part);
        // SAFETY: a valid lock tag on our stack.
        unsafe {
            let mode = pg_sys::ExclusiveLock as pg_sys::LOCKMODE;
            pg_sys::LockAcquire(&tag, mode, false, false);
        }
        Self { tag }
    }
}

impl Drop for KeyLock {
    fn drop(&mut self) {
        // As for the registration lock.
        if !std::thread::panicking() {
            let mode = pg_sys::ExclusiveLock as pg_sys::LOCKMODE;
            // SAFETY: the tag of a lock that `acquire` took.
            unsafe { pg_sys::LockRelease(&self.tag, mode, false) };
        }
    }
}

impl Drop for RegistrationLock {
    fn drop(&mut self) {
        // While an error unwinds, the abort of the transaction releases every lock; a released one would be
        // reported as not owned.
        if !std::thread::panicking() {
            // SAFETY: the tag of a lock that `acquire` took.
            unsafe { pg_sys::LockRelease(&self.tag, self.mode, false) };
        }
    }
}
