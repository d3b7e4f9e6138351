// SPDX-License-Identifier: Apache-2.0
//! Named points at which a test stops a compaction, a bulk delete or a load of a keyed table: `doris.debug_pause` names
//! the point, and whoever gets there waits for the advisory lock 4711.
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::pg_sys;
use std::ffi::CString;

static POINT: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
const LOCK: u32 = 4711;

/// Defines the setting.
pub fn define() {
    GucRegistry::define_string_guc(
        c"doris.debug_pause",
        c"Name of the point at which this session waits for the advisory lock 4711.",
        c"For tests.",
        &POINT,
        GucContext::Suset,
        GucFlags::NO_SHOW_ALL,
    );
}

/// Waits here if this point was named.
pub fn at(point: &str) {
    let chosen = POINT.get();
    if chosen.is_none_or(|name| name.to_bytes() != point.as_bytes()) {
        return;
    }
    // SAFETY: a tag like that of pg_advisory_lock(4711), on our stack; the lock is given back at once.
    unsafe {
        let tag = pg_sys::LOCKTAG {
            locktag_field1: pg_sys::MyDatabaseId.to_u32(),
            locktag_field2: 0,
            locktag_field3: LOCK,
            locktag_field4: 1,
            locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
            locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
        };
        let mode = pg_sys::ShareLock as pg_sys::LOCKMODE;
        pg_sys::LockAcquire(&tag, mode, false, false);
        pg_sys::LockRelease(&tag, mode, false);
    }
}
