// SPDX-License-Identifier: Apache-2.0
//! The settings `doris.*`.
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

static LOAD_MEMORY: GucSetting<i32> = GucSetting::<i32>::new(256 * 1024);
static BULK_LOAD: GucSetting<bool> = GucSetting::<bool>::new(true);
static SCAN: GucSetting<bool> = GucSetting::<bool>::new(true);
static VECTORIZATION: GucSetting<bool> = GucSetting::<bool>::new(true);

/// Defines the settings; called once when the library is loaded.
pub fn define() {
    GucRegistry::define_int_guc(
        c"doris.load_memory",
        c"Memory for the segments that a session is loading.",
        c"Beyond it, segments are written out before they are full.",
        &LOAD_MEMORY,
        8 * 1024,
        16 * 1024 * 1024,
        GucContext::Userset,
        GucFlags::UNIT_KB,
    );
    GucRegistry::define_bool_guc(
        c"doris.enable_bulk_load",
        c"Lets bulk loads write column segments directly.",
        c"When off, all rows go to the row store until they are compacted.",
        &BULK_LOAD,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"doris.enable_scan",
        c"Enables the planner's use of columnar scan nodes.",
        c"",
        &SCAN,
        GucContext::Userset,
        GucFlags::EXPLAIN,
    );
    GucRegistry::define_bool_guc(
        c"doris.enable_vectorization",
        c"Enables the vectorised engine.",
        c"",
        &VECTORIZATION,
        GucContext::Userset,
        GucFlags::EXPLAIN,
    );
}

/// `doris.load_memory`, in bytes.
pub fn load_memory_bytes() -> usize {
    LOAD_MEMORY.get() as usize * 1024
}

/// `doris.enable_bulk_load`.
pub fn bulk_load() -> bool {
    BULK_LOAD.get()
}

/// `doris.enable_scan`.
pub fn scan() -> bool {
    SCAN.get()
}

/// `doris.enable_vectorization`.
pub fn vectorization() -> bool {
    VECTORIZATION.get()
}
