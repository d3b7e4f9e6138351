// SPDX-License-Identifier: Apache-2.0
//! Opened segments: footers and dictionaries are immutable, so each backend keeps those it has read.
use super::chunks;
use super::entry::Entry;
use super::sequential_fetch;
use crate::pg::toast::Toast;
use crate::pg::{self, compat};
use doris_storage::bloom;
use doris_storage::segment::{Block, BlockMeta, ColumnMeta, ColumnReader, Footer, Verify};
use doris_storage::vector::Vector;
use foldhash::fast::RandomState;
use pgrx::pg_sys;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

/// A segment's footer and the column readers made so far.
pub struct Segment {
    /// Its directory entry.
    pub entry: Entry,
    /// What it holds.
    pub footer: Arc<Footer>,
    /// Where the columns of the table's key are, and whether the rows are in the order of `keys::code::Keys`; filled in
    /// by the first search.
    pub key: OnceCell<(Vec<usize>, bool)>,
    by_id: HashMap<u16, usize>,
    readers: RefCell<Vec<Option<Arc<ColumnReader>>>>,
    /// The bloom filters of a column, once they were asked for.
    blooms: Vec<OnceCell<Blooms>>,
    /// Where the chunks of its stream were last found.
    recent: Box<chunks::Recent>,
    /// A bit for each row block of each column whose checksum a scan of this backend has found right.
    verified: Arc<Verified>,
}

/// Where each row block's filter is in the bytes read; empty where there is none.
type Blooms = (Vec<Range<usize>>, Vec<u8>);

/// Row blocks whose bytes match their checksums; workers add to it.
pub struct Verified {
    blocks: usize,
    words: Vec<AtomicU64>,
}

impl Verified {
    fn new(columns: usize, blocks: usize) -> Self {
        let words = (columns * blocks).div_ceil(64);
        Self {
            blocks,
            words: (0..words).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Whether the block was found right before.
    pub fn contains(&self, column: usize, block: usize) -> bool {
        let at = column * self.blocks + block;
        let word = self.words.get(at / 64);
        word.is_some_and(|word| word.load(Ordering::Relaxed) >> (at % 64) & 1 == 1)
    }

    /// Notes that the block was found right.
    pub fn insert(&self, column: usize, block: usize) {
        let at = column * self.blocks + block;
        if let Some(word) = self.words.get(at / 64) {
            word.fetch_or(1 << (at % 64), Ordering::Relaxed);
        }
    }
}

/// Which segment a cached footer is of. The checksum tells apart segments of files that reuse a number.
pub type Identity = (u32, u64, u64, u32);

/// Footers kept by a backend before all are dropped.
const CACHED_BYTES_MAX: u64 = 64 << 20;

#[derive(Default)]
struct Cache {
    segments: HashMap<Identity, Rc<Segment>, RandomState>,
    bytes: u64,
}

thread_local! {
    static CACHE: RefCell<Cache> = RefCell::default();
}

/// Bytes of row blocks that a backend keeps for look-ups of single rows.
const BLOCK_CACHE_BYTES: usize = 16 << 20;

type BlockKey = (Identity, u16, u32);

/// Row blocks that were read for a single row. The next look-ups are often near, and checking and opening a
/// block costs more than taking a value out of it. Two generations stand in for an order of use: what is in
/// the older one when the younger is full is dropped.
#[derive(Default)]
struct BlockCache {
    young: HashMap<BlockKey, Rc<Block<Vec<u8>>>, RandomState>,
    old: HashMap<BlockKey, Rc<Block<Vec<u8>>>, RandomState>,
    young_bytes: usize,
}

impl BlockCache {
    fn get(&mut self, key: &BlockKey) -> Option<Rc<Block<Vec<u8>>>> {
        if let Some(block) = self.young.get(key) {
            return Some(block.clone());
        }
        let block = self.old.remove(key)?;
        self.put(*key, block.clone());
        Some(block)
    }

    fn put(&mut self, key: BlockKey, block: Rc<Block<Vec<u8>>>) {
        let bytes = block.bytes().len();
        if bytes > BLOCK_CACHE_BYTES / 2 {
            return;
        }
        if self.young_bytes + bytes > BLOCK_CACHE_BYTES / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += bytes;
        self.young.insert(key, block);
    }
}

thread_local! {
    static BLOCKS: RefCell<BlockCache> = RefCell::default();
}

/// Opens a sealed segment.
pub fn open(main: pg_sys::Relation, toast: &Toast, entry: &Entry) -> Rc<Segment> {
    let key = identity(toast, entry);
    if let Some(segment) = CACHE.with_borrow(|cache| cache.segments.get(&key).cloned()) {
        return segment;
    }
    let segment = Rc::new(load(main, toast, entry));
    let bytes = (entry.stream_bytes - entry.footer_offset) * 4;
    CACHE.with_borrow_mut(|cache| {
        if cache.bytes + bytes > CACHED_BYTES_MAX {
            *cache = Cache::default();
        }
        cache.bytes += bytes;
        cache.segments.insert(key, segment.clone());
    });
    segment
}

/// An opened segment has come to take more memory.
fn grow(bytes: usize) {
    CACHE.with_borrow_mut(|cache| cache.bytes += bytes as u64);
}

/// Which segment an entry is of.
pub fn identity(toast: &Toast, entry: &Entry) -> Identity {
    (
        compat::file_number(toast.rel),
        entry.first_row,
        entry.stream_bytes,
        entry.checksum,
    )
}

/// Opens a sealed segment without the cache, and reports corruption instead of raising it.
pub fn load_checked(
    main: pg_sys::Relation,
    toast: &Toast,
    entry: &Entry,
) -> Result<Segment, String> {
    // A chunk fills a page. What is said to be larger would be given memory before it is found missing.
    if chunks::count(entry.stream_bytes) > u64::from(toast.blocks()) {
        return Err("it is larger than the table".into());
    }
    let mut bytes = Vec::new();
    chunks::read(
        main,
        toast,
        entry,
        entry.footer_offset..entry.stream_bytes,
        &mut bytes,
    );
    if checksum(&bytes) != entry.checksum {
        return Err("footer does not match its directory entry".into());
    }
    let footer = Footer::decode(&bytes, entry.footer_offset).map_err(|e| e.to_string())?;
    if footer.rows != entry.rows {
        return Err(format!(
            "footer has {} rows, its entry {}",
            footer.rows, entry.rows
        ));
    }
    let by_id = footer
        .columns
        .iter()
        .enumerate()
        .map(|(i, c)| (c.spec.id, i))
        .collect();
    let readers = RefCell::new(vec![None; footer.columns.len()]);
    let blooms = vec![OnceCell::new(); footer.columns.len()];
    let blocks = footer.columns.first().map_or(0, |c| c.blocks.len());
    let verified = Arc::new(Verified::new(footer.columns.len(), blocks));
    let chunks = chunks::count(entry.stream_bytes) as usize;
    Ok(Segment {
        entry: *entry,
        footer: Arc::new(footer),
        key: OnceCell::new(),
        by_id,
        readers,
        blooms,
        recent: vec![Cell::new(0); chunks].into_boxed_slice(),
        verified,
    })
}

fn load(main: pg_sys::Relation, toast: &Toast, entry: &Entry) -> Segment {
    load_checked(main, toast, entry).unwrap_or_else(|e| {
        pg::report_corrupt(main, format!("segment at row {}: {e}", entry.first_row))
    })
}

/// The checksum of a footer kept in its directory entry.
pub fn checksum(bytes: &[u8]) -> u32 {
    doris_storage::checksum::checksum(bytes) as u32
}

impl Segment {
    /// Where the column of an attribute is among the segment's columns; `None`: added to the table later.
    pub fn column(&self, attribute: u16) -> Option<usize> {
        self.by_id.get(&attribute).copied()
    }

    /// The decimal scale of a column.
    pub fn scale(&self, column: usize) -> u16 {
        self.footer.columns[column].spec.scale as u16
    }

    /// The reader of a column, with its dictionary loaded.
    pub fn reader(
        &self,
        main: pg_sys::Relation,
        toast: &Toast,
        column: usize,
    ) -> Arc<ColumnReader> {
        if let Some(reader) = &self.readers.borrow()[column] {
            return reader.clone();
        }
        let meta = &self.footer.columns[column];
        let shared = meta.shared.clone().map(|range| {
            let mut bytes = Vec::new();
            chunks::read(main, toast, &self.entry, range, &mut bytes);
            bytes
        });
        let reader = ColumnReader::new(meta, shared.as_deref());
        let reader = Arc::new(reader.unwrap_or_else(|e| self.corrupt(main, column, e)));
        self.readers.borrow_mut()[column] = Some(reader.clone());
        reader
    }

    /// The bytes of a row block of a column.
    pub fn block_bytes(
        &self,
        main: pg_sys::Relation,
        toast: &Toast,
        column: usize,
        block: usize,
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        let range = self.footer.columns[column].blocks[block].range();
        chunks::read_recent(main, toast, &self.entry, &self.recent, range, &mut bytes);
        bytes
    }

    /// Which row blocks need no checking any more.
    pub fn verified(&self) -> &Arc<Verified> {
        &self.verified
    }

    /// A row block of a column, ready to decode.
    pub fn block(
        &self,
        main: pg_sys::Relation,
        toast: &Toast,
        column: usize,
        block: usize,
    ) -> Block<Vec<u8>> {
        let reader = self.reader(main, toast, column);
        let bytes = self.block_bytes(main, toast, column, block);
        let meta = &self.footer.columns[column].blocks[block];
        reader
            .block(meta, bytes, Verify::Checksum)
            .unwrap_or_else(|e| self.corrupt(main, column, e))
    }

    /// The bloom filter of a row block of a column; all those of the column are read when the first is asked for.
    pub fn bloom(
        &self,
        main: pg_sys::Relation,
        toast: &Toast,
        meta: &ColumnMeta,
        block: usize,
    ) -> Option<&[u8]> {
        meta.blocks.get(block)?.bloom.as_ref()?;
        let all = meta.bloom_range()?;
        let column = self.column(meta.spec.id)?;
        let filters = match self.blooms[column].get() {
            Some(filters) => filters,
            None => {
                let filters = self.read_blooms(main, toast, column, meta, all);
                self.blooms[column].get_or_init(|| filters)
            }
        };
        let filter = &filters.1[filters.0.get(block)?.clone()];
        (!filter.is_empty()).then_some(filter)
    }

    fn read_blooms(
        &self,
        main: pg_sys::Relation,
        toast: &Toast,
        column: usize,
        meta: &ColumnMeta,
        all: Range<u64>,
    ) -> Blooms {
        let mut bytes = Vec::new();
        chunks::read(main, toast, &self.entry, all.clone(), &mut bytes);
        grow(bytes.len());
        let place = |block: &BlockMeta| {
            let Some(range) = &block.bloom else {
                return Ok(0..0);
            };
            let (start, end) = (range.start - all.start, range.end - all.start);
            let stored = bytes.get(start as usize..end as usize).unwrap_or_default();
            let filter = bloom::checked(stored)?.map_or(0, <[u8]>::len);
            Ok(start as usize..start as usize + filter)
        };
        let places: Result<Vec<_>, doris_storage::Error> = meta.blocks.iter().map(place).collect();
        (
            places.unwrap_or_else(|e| self.corrupt(main, column, e)),
            bytes,
        )
    }

    /// All values of a row block of a column.
    pub fn vector(
        &self,
        main: pg_sys::Relation,
        toast: &Toast,
        column: usize,
        block: usize,
    ) -> Vector {
        let rows = self.footer.columns[column].blocks[block].rows as usize;
        let block = self.block(main, toast, column, block);
        let mut out = Vector::empty(self.footer.columns[column].spec.physical);
        block
            .decode(0..rows, &mut out)
            .unwrap_or_else(|e| self.corrupt(main, column, e));
        out
    }

    /// Calls `visit` with one value of a column: a vector, and where in it the value is.
    pub fn value<T>(
        &self,
        main: pg_sys::Relation,
        toast: &Toast,
        column: usize,
        position: u32,
        visit: impl FnOnce(&Vector, usize) -> T,
    ) -> T {
        let key = identity(toast, &self.entry);
        if let Some((vector, start)) = sequential_fetch::find(&key, column, position) {
            return visit(&vector, (position - start) as usize);
        }
        let block_rows = self.footer.block_rows;
        let block = self.cached_block(main, toast, column, position / block_rows);
        let mut out = Vector::empty(self.footer.columns[column].spec.physical);
        let (first, at) = (position - position % block_rows, position % block_rows);
        let wanted = sequential_fetch::wanted(&key, position, first..first + block.rows() as u32);
        let ahead = wanted.filter(|_| sequential_fetch::affords(&block));
        let Some(rows) = ahead else {
            block
                .gather(&[at], &mut out)
                .unwrap_or_else(|e| self.corrupt(main, column, e));
            return visit(&out, 0);
        };
        block
            .decode(
                (rows.start - first) as usize..(rows.end - first) as usize,
                &mut out,
            )
            .unwrap_or_else(|e| self.corrupt(main, column, e));
        let vector = sequential_fetch::keep(&key, column, &rows, out);
        visit(&vector, (position - rows.start) as usize)
    }

    /// A row block that stays open for the next look-ups.
    pub fn cached_block(
        &self,
        main: pg_sys::Relation,
        toast: &Toast,
        column: usize,
        block: u32,
    ) -> Rc<Block<Vec<u8>>> {
        let key = (identity(toast, &self.entry), column as u16, block);
        if let Some(found) = BLOCKS.with_borrow_mut(|cache| cache.get(&key)) {
            return found;
        }
        let opened = Rc::new(self.block(main, toast, column, block as usize));
        BLOCKS.with_borrow_mut(|cache| cache.put(key, opened.clone()));
        opened
    }

    fn corrupt(&self, main: pg_sys::Relation, column: usize, error: doris_storage::Error) -> ! {
        if error == doris_storage::Error::OutOfMemory {
            pg::report_no_memory(Some(pg::relation_id(main)), "");
        }
        let id = self.footer.columns[column].spec.id;
        let name = pg::column_name(pg::relation_id(main), id);
        let first = self.entry.first_row;
        pg::report_corrupt(
            main,
            format!("segment at row {first}, column \"{name}\": {error}"),
        )
    }
}
