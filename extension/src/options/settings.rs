// SPDX-License-Identifier: Apache-2.0
//! The settings `doris.*`.
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

static LOAD_MEMORY: GucSetting<i32> = GucSetting::<i32>::new(256 * 1024);
static BULK_LOAD: GucSetting<bool> = GucSetting::<bool>::new(true);
static ROWS_TO_HEAP: GucSetting<i32> = GucSetting::<i32>::new(2048);
static THREADS: GucSetting<i32> = GucSetting::<i32>::new(0);
static WORK_MEM: GucSetting<i32> = GucSetting::<i32>::new(1024 * 1024);
static MAX_THREADS: GucSetting<i32> = GucSetting::<i32>::new(0);
static MAX_MEMORY: GucSetting<i32> = GucSetting::<i32>::new(0);
static BATCH_ROWS: GucSetting<i32> = GucSetting::<i32>::new(4096);
static PARTIAL_UPDATE: GucSetting<bool> = GucSetting::<bool>::new(false);
static NEW_KEYS: GucSetting<NewKeys> = GucSetting::<NewKeys>::new(NewKeys::Append);
static REQUIRE_SEQUENCE: GucSetting<bool> = GucSetting::<bool>::new(true);
static BULK_DELETE_ROWS: GucSetting<i32> = GucSetting::<i32>::new(1024);
static VECTORIZATION: GucSetting<bool> = GucSetting::<bool>::new(true);

/// What a partial update does with a key that is not in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, pgrx::PostgresGucEnum)]
pub enum NewKeys {
    /// A row with defaults in the columns that are not named.
    #[name = c"append"]
    Append,
    /// An error.
    #[name = c"error"]
    Error,
}

/// Defines the settings; called once when the library is loaded.
pub fn define() {
    define_engine();
    define_models();
    GucRegistry::define_int_guc(
        c"doris.load_memory",
        c"Maximum memory for the segments that a session is loading.",
        c"A load that reaches it writes a segment out before the segment is full.",
        &LOAD_MEMORY,
        8 * 1024,
        16 * 1024 * 1024,
        GucContext::Userset,
        GucFlags::UNIT_KB,
    );
    GucRegistry::define_bool_guc(
        c"doris.enable_bulk_load",
        c"Lets bulk loads write column segments directly.",
        c"When off, all rows go to the row store until compaction moves them.",
        &BULK_LOAD,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"doris.rows_to_heap",
        c"Number of rows of a command that go to the row store before the command starts a column segment.",
        c"A command that inserts fewer rows costs as much as in a heap.",
        &ROWS_TO_HEAP,
        0,
        i32::MAX,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"doris.bulk_delete_rows",
        c"Minimum number of consecutive segment rows for which DELETE or UPDATE uses one bulk mark instead of one mark per row; 0 turns bulk marks off.",
        c"Shorter runs of rows get one mark per row.",
        &BULK_DELETE_ROWS,
        0,
        i32::MAX,
        GucContext::Userset,
        GucFlags::default(),
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

/// Defines the settings of key models.
fn define_models() {
    GucRegistry::define_bool_guc(
        c"doris.partial_update",
        c"Makes INSERT and COPY into unique_key tables change only the columns that they name.",
        c"The other columns keep the values of the stored row.",
        &PARTIAL_UPDATE,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_enum_guc(
        c"doris.partial_update_new_key",
        c"Sets what a partial update does with a key that is not in the table.",
        c"append inserts a row with defaults in the other columns; error raises an error.",
        &NEW_KEYS,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"doris.require_sequence_in_insert",
        c"Requires INSERT and COPY to name the sequence column of a table that has one.",
        c"A sequence column with a default, and a partial update, are exempt.",
        &REQUIRE_SEQUENCE,
        GucContext::Userset,
        GucFlags::default(),
    );
}

/// Defines the settings of the engine.
fn define_engine() {
    GucRegistry::define_int_guc(
        c"doris.threads",
        c"Maximum number of threads of a query or load, including its own; 0 means one per processor.",
        c"",
        &THREADS,
        0,
        256,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"doris.work_mem",
        c"Maximum memory for the vectorised part of a query.",
        c"A query that needs more writes rows to temporary files.",
        &WORK_MEM,
        64,
        i32::MAX / 2,
        GucContext::Userset,
        GucFlags::UNIT_KB,
    );
    GucRegistry::define_int_guc(
        c"doris.max_threads",
        c"Maximum number of worker threads of all sessions together; 0 means four per processor.",
        c"A query that gets no worker thread runs on its own thread.",
        &MAX_THREADS,
        0,
        4096,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"doris.max_memory",
        c"Maximum memory for the vectorised parts of all queries together; 0 means no limit.",
        c"A query that gets no memory writes rows to temporary files.",
        &MAX_MEMORY,
        0,
        i32::MAX,
        GucContext::Sighup,
        GucFlags::UNIT_MB,
    );
    GucRegistry::define_int_guc(
        c"doris.batch_rows",
        c"Target number of rows in a batch that one operator passes to the next.",
        c"Small values are for tests of the engine.",
        &BATCH_ROWS,
        1,
        1 << 20,
        GucContext::Userset,
        GucFlags::default(),
    );
}

/// Processors that this process may use. Asked once: the answer is read from files.
fn processors() -> usize {
    static PROCESSORS: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *PROCESSORS.get_or_init(|| std::thread::available_parallelism().map_or(1, |n| n.get()))
}

/// `doris.max_threads`: worker threads of the server.
pub fn max_threads() -> usize {
    const THREADS_A_PROCESSOR: usize = 4;
    match MAX_THREADS.get() {
        0 => processors() * THREADS_A_PROCESSOR,
        n => n as usize,
    }
}

/// `doris.max_memory`, in bytes, if there is a bound.
pub fn max_memory_bytes() -> Option<usize> {
    match MAX_MEMORY.get() {
        0 => None,
        megabytes => Some((megabytes as usize) << 20),
    }
}

/// `doris.batch_rows`.
pub fn batch_rows() -> usize {
    BATCH_ROWS.get() as usize
}

/// `doris.threads`, at least 1.
pub fn threads() -> usize {
    match THREADS.get() {
        0 => processors(),
        n => n as usize,
    }
}

/// `doris.work_mem`, in bytes.
pub fn work_mem_bytes() -> usize {
    WORK_MEM.get() as usize * 1024
}

/// `doris.load_memory`, in bytes.
pub fn load_memory_bytes() -> usize {
    LOAD_MEMORY.get() as usize * 1024
}

/// Bytes of rows from which a segment is cut: half of `doris.load_memory`, the other half being for the one before. No
/// more than that many of a column, twice, and a value of each have offsets of 32 bits.
pub fn segment_bytes_max() -> usize {
    const BYTES_MAX: usize = 1 << 30;
    (load_memory_bytes() / 2).min(BYTES_MAX)
}

/// `doris.rows_to_heap`.
pub fn rows_to_heap() -> u64 {
    ROWS_TO_HEAP.get() as u64
}

/// `doris.enable_bulk_load`.
pub fn bulk_load() -> bool {
    BULK_LOAD.get()
}

/// `doris.enable_vectorization`.
pub fn vectorization() -> bool {
    VECTORIZATION.get()
}

/// `doris.partial_update`.
pub fn partial_update() -> bool {
    PARTIAL_UPDATE.get()
}

/// `doris.partial_update_new_key` is `error`.
pub fn new_keys_are_errors() -> bool {
    NEW_KEYS.get() == NewKeys::Error
}

/// `doris.require_sequence_in_insert`.
pub fn require_sequence() -> bool {
    REQUIRE_SEQUENCE.get()
}

/// `doris.bulk_delete_rows`.
pub fn bulk_delete_rows() -> i32 {
    BULK_DELETE_ROWS.get()
}
