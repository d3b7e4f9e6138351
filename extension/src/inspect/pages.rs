// SPDX-License-Identifier: Apache-2.0
//! The pages of a heap as they are stored: the row store of a table, or the TOAST relation where its segments and large
//! values are.
//!
//! Each block is read, which looks at its checksum; its line pointers lead to tuples within the page, and each tuple's
//! header and the lengths of its values fit its place. Pages are looked at as plain bytes, copied under the buffer's
//! lock.
use super::subtransaction;
use crate::pg::{attributes, heapam};
use pgrx::pg_sys;
use roaring::RoaringTreemap;
use std::cell::Cell;

const PAGE_BYTES: usize = pg_sys::BLCKSZ as usize;
const PAGE_HEADER_BYTES: usize = 24;
const TUPLE_HEADER_BYTES: usize = 23;
const POINTER_BYTES: usize = 4;
/// More than the line pointers of a page: sets of places are dense.
const PLACES: u64 = 512;

/// The place of a line pointer, for sets of them.
pub fn place(block: u32, offset: u16) -> u64 {
    u64::from(block) * PLACES + u64::from(offset).min(PLACES - 1)
}

/// The block and number of the line pointer at a place.
pub fn parts(place: u64) -> (u32, u16) {
    ((place / PLACES) as u32, (place % PLACES) as u16)
}

/// What is known of all tuples of a heap.
struct Shape {
    /// Length and alignment of each attribute.
    attributes: Vec<(i16, usize)>,
    /// No transaction before it is left in a tuple.
    frozen: pg_sys::TransactionId,
}

impl Shape {
    fn of(rel: pg_sys::Relation) -> Self {
        let shape =
            |a: &pg_sys::FormData_pg_attribute| (a.attlen, attributes::alignment_bytes(a.attalign));
        Self {
            attributes: attributes::all(rel).map(shape).collect(),
            // SAFETY: an open relation.
            frozen: unsafe { (*(*rel).rd_rel).relfrozenxid },
        }
    }
}

/// Reads all pages of a heap, and adds what is wrong with them: `name` says what it is. Returns the places of its used
/// line pointers.
pub fn check(
    rel: pg_sys::Relation,
    name: &str,
    problems: &mut Vec<(Option<i64>, String)>,
) -> RoaringTreemap {
    let mut used = RoaringTreemap::new();
    let shape = Shape::of(rel);
    let blocks = heapam::blocks(rel);
    let next = Cell::new(0);
    // SAFETY: a ring of buffers, so that the cache stays as it is; freed with the memory context.
    let ring = unsafe { pg_sys::GetAccessStrategy(pg_sys::BufferAccessStrategyType::BAS_BULKREAD) };
    while next.get() < blocks {
        let stretch = subtransaction::run(|| {
            while next.get() < blocks {
                let block = next.get();
                next.set(block + 1);
                let wrong = check_block(rel, block, ring, &shape, &mut used);
                let named = wrong.map(|text| (None, format!("{name}, block {block}: {text}")));
                problems.extend(named);
                pgrx::check_for_interrupts!();
            }
        });
        if let Err(error) = stretch {
            problems.push((None, format!("{name}: {error}")));
        }
    }
    used
}

/// Whether a place has a line pointer that is in use.
pub fn is_used(rel: pg_sys::Relation, block: u32, offset: u16) -> bool {
    if block >= heapam::blocks(rel) {
        return false;
    }
    let page = copy(rel, block, std::ptr::null_mut());
    let items = Page(&page).items();
    items.is_ok_and(|items| items.iter().any(|item| item.offset == offset))
}

/// What is wrong with a block: the first thing that was found.
fn check_block(
    rel: pg_sys::Relation,
    block: u32,
    ring: pg_sys::BufferAccessStrategy,
    shape: &Shape,
    used: &mut RoaringTreemap,
) -> Option<String> {
    let page = copy(rel, block, ring);
    if page.iter().all(|byte| *byte == 0) {
        // A server that crashes while it extends a file leaves such pages, which no VACUUM has found all-visible.
        return all_visible(rel, block).then(|| "it is empty, and had rows before".into());
    }
    let items = match Page(&page).items() {
        Ok(items) => items,
        Err(problem) => return Some(problem),
    };
    used.extend(items.iter().map(|item| place(block, item.offset)));
    // SAFETY: plain call. Transactions that began after the page was read are in no tuple of it.
    let next = unsafe { pg_sys::ReadNextFullTransactionId().value as u32 };
    items.iter().find_map(|item| {
        let wrong = item.check(&items, &page, shape, next.into()).err()?;
        Some(format!("row {}: {wrong}", item.offset))
    })
}

/// The bytes of a block.
fn copy(rel: pg_sys::Relation, block: u32, ring: pg_sys::BufferAccessStrategy) -> Vec<u8> {
    let mut bytes = vec![0; PAGE_BYTES];
    let main = pg_sys::ForkNumber::MAIN_FORKNUM;
    let normal = pg_sys::ReadBufferMode::RBM_NORMAL;
    // SAFETY: a block that exists; the content lock is held while the page is copied. Errors leave the pin to the
    // resource owner.
    unsafe {
        let buffer = pg_sys::ReadBufferExtended(rel, main, block, normal, ring);
        pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
        let page = pg_sys::BufferGetPage(buffer) as *const u8;
        std::ptr::copy_nonoverlapping(page, bytes.as_mut_ptr(), PAGE_BYTES);
        pg_sys::UnlockReleaseBuffer(buffer);
    }
    bytes
}

/// Whether VACUUM has noted that everybody sees all rows of a block.
fn all_visible(rel: pg_sys::Relation, block: u32) -> bool {
    let mut map = 0;
    // SAFETY: an open relation; the pin of the map's page is released.
    let status = unsafe {
        let status = pg_sys::visibilitymap_get_status(rel, block, &mut map);
        if map != 0 {
            pg_sys::ReleaseBuffer(map);
        }
        status
    };
    u32::from(status) & pg_sys::VISIBILITYMAP_ALL_VISIBLE != 0
}

/// A line pointer in use.
struct Item {
    /// Its number, from 1.
    offset: u16,
    leads: Leads,
}

/// What a line pointer leads to.
enum Leads {
    /// The bytes of a tuple: from, to.
    Tuple(usize, usize),
    /// Another line pointer.
    Item(usize),
    /// Nothing any more.
    Nowhere,
}

struct Page<'a>(&'a [u8]);

impl Page<'_> {
    fn word(&self, at: usize) -> usize {
        usize::from(u16_at(self.0, at))
    }

    /// The line pointers in use.
    fn items(&self) -> Result<Vec<Item>, String> {
        let (lower, upper, special) = (self.word(12), self.word(14), self.word(16));
        let ordered = PAGE_HEADER_BYTES <= lower && lower <= upper && upper <= special;
        if !ordered || special > PAGE_BYTES {
            return Err("its header is damaged".into());
        }
        let count = (lower - PAGE_HEADER_BYTES) / POINTER_BYTES;
        let pointers = self.0[PAGE_HEADER_BYTES..lower].chunks_exact(POINTER_BYTES);
        let mut items = Vec::with_capacity(count);
        for (at, pointer) in pointers.enumerate() {
            let word = u32_at(pointer, 0);
            let (from, length) = ((word & 0x7fff) as usize, (word >> 17) as usize);
            let leads = match word >> 15 & 3 {
                pg_sys::LP_UNUSED => continue,
                pg_sys::LP_REDIRECT => Leads::Item(from),
                pg_sys::LP_DEAD => Leads::Nowhere,
                _ => Leads::Tuple(from, from + length),
            };
            if let Leads::Tuple(from, to) = leads {
                let within = from >= upper && to <= special && from.is_multiple_of(8);
                if !within || length < TUPLE_HEADER_BYTES {
                    return Err(format!("line pointer {} leads to no row", at + 1));
                }
            }
            let offset = at as u16 + 1;
            items.push(Item { offset, leads });
        }
        Ok(items)
    }
}

impl Item {
    fn check(
        &self,
        all: &[Item],
        page: &[u8],
        shape: &Shape,
        next: pg_sys::TransactionId,
    ) -> Result<(), String> {
        match self.leads {
            Leads::Nowhere => Ok(()),
            Leads::Tuple(from, to) => check_tuple(&page[from..to], shape, next),
            Leads::Item(target) => {
                let tuple = |item: &&Item| matches!(item.leads, Leads::Tuple(..));
                let found = all.iter().find(|item| usize::from(item.offset) == target);
                match found.filter(tuple) {
                    Some(_) => Ok(()),
                    None => Err("it is redirected to no row".into()),
                }
            }
        }
    }
}

fn check_tuple(tuple: &[u8], shape: &Shape, next: pg_sys::TransactionId) -> Result<(), String> {
    let (infomask2, infomask) = (u32::from(u16_at(tuple, 18)), u32::from(u16_at(tuple, 20)));
    let attributes = (infomask2 & pg_sys::HEAP_NATTS_MASK) as usize;
    let nulls = match infomask & pg_sys::HEAP_HASNULL {
        0 => 0,
        _ => attributes.div_ceil(8),
    };
    let header = usize::from(tuple[22]);
    if header != (TUPLE_HEADER_BYTES + nulls).next_multiple_of(8) || header > tuple.len() {
        return Err("its header is damaged".into());
    }
    if attributes > shape.attributes.len() {
        return Err(format!(
            "it has {attributes} columns, its table {}",
            shape.attributes.len()
        ));
    }
    let frozen = infomask & pg_sys::HEAP_XMIN_FROZEN == pg_sys::HEAP_XMIN_FROZEN;
    let xmin = pg_sys::TransactionId::from(u32_at(tuple, 0));
    // SAFETY: plain comparisons.
    let (before, after) = unsafe {
        (
            pg_sys::TransactionIdPrecedes(xmin, shape.frozen),
            pg_sys::TransactionIdFollowsOrEquals(xmin, next),
        )
    };
    let normal = xmin.into_inner() >= pg_sys::FirstNormalTransactionId.into_inner();
    if normal && !frozen && (before || after) {
        return Err(format!(
            "it was written by transaction {}, which cannot be",
            xmin.into_inner()
        ));
    }
    let bitmap = &tuple[TUPLE_HEADER_BYTES..TUPLE_HEADER_BYTES + nulls];
    let is_null = |at: usize| nulls > 0 && bitmap[at / 8] >> (at % 8) & 1 == 0;
    check_values(&tuple[header..], &shape.attributes[..attributes], is_null)
}

/// Whether the values of a tuple fit its length, one after the other.
fn check_values(
    values: &[u8],
    attributes: &[(i16, usize)],
    is_null: impl Fn(usize) -> bool,
) -> Result<(), String> {
    let mut at = 0;
    for (number, (length, alignment)) in attributes.iter().enumerate() {
        if is_null(number) {
            continue;
        }
        // Varlenas with short headers are not aligned; what comes before one that is aligned is 0.
        let short = *length == -1 && values.get(at).is_some_and(|byte| *byte != 0);
        if !short {
            at = at.next_multiple_of(*alignment);
        }
        let size = match length {
            -1 => varlena_bytes(values.get(at..).unwrap_or_default()),
            -2 => values
                .get(at..)
                .and_then(|rest| rest.iter().position(|byte| *byte == 0))
                .map(|end| end + 1),
            fixed => Some(*fixed as usize),
        };
        match size {
            Some(size) if at + size <= values.len() => at += size,
            _ => return Err(format!("column {} goes beyond its end", number + 1)),
        }
    }
    Ok(())
}

/// The length of a varlena with its header; `None` where it cannot be one.
fn varlena_bytes(bytes: &[u8]) -> Option<usize> {
    let first = *bytes.first()?;
    match first {
        // A pointer to a value in the TOAST relation.
        1 => (u32::from(*bytes.get(1)?) == pg_sys::vartag_external::VARTAG_ONDISK).then_some(18),
        short if short & 1 == 1 => Some(usize::from(short >> 1)),
        _ if bytes.len() >= 4 => Some((u32_at(bytes, 0) >> 2) as usize).filter(|size| *size >= 4),
        _ => None,
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
