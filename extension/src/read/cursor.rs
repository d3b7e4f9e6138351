// SPDX-License-Identifier: Apache-2.0
//! A cursor over the segment rows that a snapshot sees, one row at a time, in both directions.
use super::attrs::Attr;
use super::datum::{datum, Arena};
use crate::pg::compat;
use crate::pg::toast::Toast;
use crate::store::anchors;
use crate::store::directory::{self, FoundSegment};
use crate::store::entry::SegmentState;
use crate::store::segment::{self, Segment};
use crate::store::tid::RowNumber;
use crate::write::builder;
use doris_storage::vector::Vector;
use pgrx::pg_sys;
use std::rc::Rc;

/// Says which rows of segments a reader wants; it gets no others, but must not rely on getting none.
pub trait RowFilter {
    /// For each row block of a segment, so many of whose rows are deleted, whether rows of it may be wanted; `None`: the
    /// filter cannot tell, and all are.
    fn blocks(
        &self,
        main: pg_sys::Relation,
        toast: &Toast,
        segment: &Segment,
        deleted: usize,
    ) -> Option<Vec<bool>>;

    /// The wanted rows of one of these row blocks, ascending, counted from the block's first; `None`: all of them.
    fn rows(
        &self,
        main: pg_sys::Relation,
        toast: &Toast,
        segment: &Segment,
        block: usize,
    ) -> Option<Vec<u32>>;
}

/// Where the rows of an open segment are.
enum Source {
    /// In pages.
    Stored(Rc<Segment>),
    /// Still in this backend's memory: one vector an attribute, with its decimal scale.
    Memory(Vec<Option<(Vector, u16)>>),
}

/// One segment being read.
struct Opened {
    found: FoundSegment,
    source: Source,
    rows: u32,
    /// Positions of rows that the snapshot does not see; ascending.
    dead: Vec<u32>,
    /// The row block whose vectors are below, if any.
    block: Option<usize>,
    vectors: Vec<Option<(Vector, u16)>>,
    /// Which row blocks the filter wants; `None`: all rows of all blocks.
    wanted_blocks: Option<Vec<bool>>,
    /// The row block whose wanted rows are below, if any.
    filtered: Option<usize>,
    /// `None`: all of the block.
    wanted_rows: Option<Vec<u32>>,
}

impl Opened {
    /// The nearest row that a filter wants, from a position on in the direction of the scan.
    fn nearest(
        &mut self,
        (main, toast): (pg_sys::Relation, &Toast),
        filter: &dyn RowFilter,
        mut position: u32,
        forward: bool,
    ) -> Option<u32> {
        let (Source::Stored(segment), Some(wanted)) = (&self.source, &self.wanted_blocks) else {
            return Some(position);
        };
        let block_rows = segment.footer.block_rows;
        loop {
            let block = position / block_rows;
            let at = block as usize;
            if wanted.get(at).copied().unwrap_or(true) {
                if self.filtered != Some(at) {
                    pgrx::check_for_interrupts!();
                    self.wanted_rows = filter.rows(main, toast, segment, at);
                    self.filtered = Some(at);
                }
                let Some(rows) = &self.wanted_rows else {
                    return Some(position);
                };
                let offset = position % block_rows;
                let found = match forward {
                    true => rows.get(rows.partition_point(|row| *row < offset)),
                    false => rows[..rows.partition_point(|row| *row <= offset)].last(),
                };
                if let Some(row) = found {
                    return Some(block * block_rows + row);
                }
            }
            position = match forward {
                true => (block + 1) * block_rows,
                false => (block * block_rows).checked_sub(1)?,
            };
            if position >= self.rows {
                return None;
            }
        }
    }
}

/// A cursor; it stands before the first row, on a row, or behind the last.
pub struct Cursor {
    main: pg_sys::Relation,
    toast: Option<Toast>,
    snapshot: pg_sys::Snapshot,
    desc: pg_sys::TupleDesc,
    attrs: Rc<Vec<Attr>>,
    needed: Vec<bool>,
    filter: Option<Rc<dyn RowFilter>>,
    segments: Vec<FoundSegment>,
    /// Index of the open segment; `segments.len()` is behind the last.
    at: usize,
    opened: Option<Opened>,
    /// The row the cursor is on: position in the open segment, plus one; 0 is before its first row.
    next: u32,
    /// Memory behind the Datums of the current row.
    pub arena: Arena,
}

impl Cursor {
    /// A cursor before the first row. `needed[i]` says whether attribute `i` will be asked for.
    pub fn new(
        main: pg_sys::Relation,
        snapshot: pg_sys::Snapshot,
        attrs: Rc<Vec<Attr>>,
        needed: Vec<bool>,
    ) -> Self {
        builder::publish_pending(main);
        let toast = Toast::open(main, pg_sys::AccessShareLock as i32);
        let segments = toast
            .as_ref()
            .map(|toast| directory::visible(main, toast, snapshot))
            .unwrap_or_default();
        Self::over(main, toast, snapshot, attrs, needed, segments)
    }

    /// A cursor over chosen segments.
    pub fn over(
        main: pg_sys::Relation,
        toast: Option<Toast>,
        snapshot: pg_sys::Snapshot,
        attrs: Rc<Vec<Attr>>,
        needed: Vec<bool>,
        segments: Vec<FoundSegment>,
    ) -> Self {
        let arena = Arena::default();
        // SAFETY: an open relation.
        let desc = unsafe { (*main).rd_att };
        Self {
            main,
            toast,
            snapshot,
            desc,
            attrs,
            needed,
            filter: None,
            segments,
            at: 0,
            opened: None,
            next: 0,
            arena,
        }
    }

    /// Reads rows by another descriptor than the relation's; the attributes must be of this one.
    ///
    /// # Safety
    /// The descriptor outlives the cursor.
    pub unsafe fn with_descriptor(mut self, desc: pg_sys::TupleDesc) -> Self {
        self.desc = desc;
        self
    }

    /// Leaves out rows that a filter does not want, from the next step on; `None`: none.
    pub fn set_filter(&mut self, filter: Option<Rc<dyn RowFilter>>) {
        self.filter = filter;
        if let (Some(toast), Some(mut opened)) = (&self.toast, self.opened.take()) {
            opened.wanted_blocks = self.wanted_blocks(toast, &opened.source, opened.dead.len());
            opened.filtered = None;
            self.opened = Some(opened);
        }
    }

    /// Which row blocks of a segment the filter wants; `None`: all.
    fn wanted_blocks(&self, toast: &Toast, source: &Source, deleted: usize) -> Option<Vec<bool>> {
        match (&self.filter, source) {
            (Some(filter), Source::Stored(segment)) => {
                filter.blocks(self.main, toast, segment, deleted)
            }
            _ => None,
        }
    }

    /// The segments it goes over.
    pub fn segments(&self) -> &[FoundSegment] {
        &self.segments
    }

    /// Puts the cursor before the first row, or behind the last.
    pub fn rewind(&mut self, to_end: bool) {
        self.at = if to_end { self.segments.len() } else { 0 };
        self.opened = None;
        self.next = 0;
    }

    /// Puts the cursor before the first row of one of its segments.
    pub fn seek(&mut self, segment: usize) {
        self.at = segment;
        self.opened = None;
        self.next = 0;
    }

    /// The segment the cursor is in, by index.
    pub fn segment_index(&self) -> usize {
        self.at
    }

    /// Whether rows of a segment may still follow.
    pub fn within(&self, segment: usize) -> bool {
        self.at == segment
    }

    /// Moves to the next (or previous) row that the snapshot sees; returns its number.
    pub fn step(&mut self, forward: bool) -> Option<RowNumber> {
        loop {
            if self.opened.is_none() {
                if forward {
                    if self.at >= self.segments.len() {
                        return None;
                    }
                    self.open();
                    self.next = 0;
                } else {
                    if self.at == 0 {
                        return None;
                    }
                    self.at -= 1;
                    self.open();
                    self.next = self.opened.as_ref().map_or(0, |o| o.rows) + 1;
                }
            }
            if let Some(row) = self.step_within(forward) {
                return Some(row);
            }
            self.opened = None;
            if forward {
                self.at += 1;
            }
        }
    }

    fn step_within(&mut self, forward: bool) -> Option<RowNumber> {
        let opened = self.opened.as_mut()?;
        loop {
            if forward {
                self.next += 1;
            } else {
                self.next = self.next.checked_sub(1)?;
            }
            if self.next == 0 || self.next > opened.rows {
                return None;
            }
            let mut position = self.next - 1;
            if let (Some(filter), Some(toast)) = (&self.filter, &self.toast) {
                let place = (self.main, toast);
                let nearest = opened.nearest(place, filter.as_ref(), position, forward);
                // Behind the last row, or before the first.
                self.next = nearest.map_or(if forward { opened.rows + 1 } else { 0 }, |at| at + 1);
                position = nearest?;
            }
            if opened.dead.is_empty() || opened.dead.binary_search(&position).is_err() {
                return Some(RowNumber(
                    opened.found.entry.first_row + u64::from(position),
                ));
            }
        }
    }

    fn open(&mut self) {
        let (Some(toast), Some(found)) = (&self.toast, self.segments.get(self.at)) else {
            return;
        };
        pgrx::check_for_interrupts!();
        let entry = &found.entry;
        let file = compat::file_number(self.main);
        let (source, rows) = match entry.state {
            SegmentState::Sealed => (
                Source::Stored(segment::open(self.main, toast, entry)),
                entry.rows,
            ),
            SegmentState::Building => match builder::copy(file, entry.first_row, &self.needed) {
                Some((vectors, rows)) => (Source::Memory(vectors), rows),
                None => (Source::Memory(Vec::new()), 0),
            },
        };
        let dead = anchors::dead_positions(self.main, toast, entry.first_row, rows, self.snapshot);
        let vectors = vec![None; self.attrs.len()];
        let wanted_blocks = self.wanted_blocks(toast, &source, dead.len());
        self.opened = Some(Opened {
            found: *found,
            source,
            rows,
            dead,
            block: None,
            vectors,
            wanted_blocks,
            filtered: None,
            wanted_rows: None,
        });
    }

    /// The directory tuple of the current row's segment.
    pub fn current(&self) -> Option<&FoundSegment> {
        self.opened.as_ref().map(|opened| &opened.found)
    }

    /// Writes the needed attributes of the current row. Attributes that are not needed become NULL.
    ///
    /// # Safety
    /// `values` and `nulls` have room for every attribute. The Datums live until the next call.
    pub unsafe fn fill(&mut self, values: *mut pg_sys::Datum, nulls: *mut bool) {
        let (Some(opened), Some(toast)) = (&mut self.opened, &self.toast) else {
            return;
        };
        let position = self.next - 1;
        let row = load_block(
            self.main,
            toast,
            opened,
            &self.attrs,
            &self.needed,
            position,
        );
        self.arena.reset();
        for (i, attr) in self.attrs.iter().enumerate() {
            let value = match (self.needed[i] && !attr.dropped, &opened.vectors[i]) {
                (false, _) => None,
                (true, Some((vector, scale))) => datum(vector, row, attr, *scale, &mut self.arena),
                // SAFETY: the descriptor that the rows have, which is in use as long as the cursor.
                (true, None) => unsafe { missing_in(self.desc, attr) },
            };
            // SAFETY: the caller vouches for the room.
            unsafe {
                *values.add(i) = value.unwrap_or(pg_sys::Datum::from(0));
                *nulls.add(i) = value.is_none();
            }
        }
    }
}

/// Makes the vectors of the block that holds `position` current; returns the row's index in them.
fn load_block(
    main: pg_sys::Relation,
    toast: &Toast,
    opened: &mut Opened,
    attrs: &[Attr],
    needed: &[bool],
    position: u32,
) -> usize {
    let segment = match &mut opened.source {
        Source::Memory(vectors) => {
            if opened.block.is_none() {
                opened.vectors = std::mem::take(vectors);
                opened.vectors.resize(attrs.len(), None);
                opened.block = Some(0);
            }
            return position as usize;
        }
        Source::Stored(segment) => segment.clone(),
    };
    let block_rows = segment.footer.block_rows;
    let block = (position / block_rows) as usize;
    if opened.block != Some(block) {
        for (i, attr) in attrs.iter().enumerate() {
            opened.vectors[i] = match segment.column(attr.number) {
                Some(column) if needed[i] && !attr.dropped => Some((
                    segment.vector(main, toast, column, block),
                    segment.scale(column),
                )),
                _ => None,
            };
        }
        opened.block = Some(block);
    }
    (position % block_rows) as usize
}

/// The value of an attribute in rows older than the attribute: its missing value, or NULL.
pub fn missing(rel: pg_sys::Relation, attr: &Attr) -> Option<pg_sys::Datum> {
    // SAFETY: callers pass an open relation and one of its attributes.
    unsafe { missing_in((*rel).rd_att, attr) }
}

/// As [`missing`], by a descriptor.
unsafe fn missing_in(desc: pg_sys::TupleDesc, attr: &Attr) -> Option<pg_sys::Datum> {
    let mut is_null = true;
    // SAFETY: passed on to the caller: a descriptor in use and one of its attributes.
    let value = unsafe { pg_sys::getmissingattr(desc, i32::from(attr.number), &mut is_null) };
    (!is_null).then_some(value)
}

/// Reads attributes of one row of a segment, whatever a snapshot says of it. Returns false when the row
/// cannot be read any more (its writer's memory is gone).
///
/// # Safety
/// `values` and `nulls` have room for these attributes.
pub unsafe fn read_row(
    main: pg_sys::Relation,
    toast: &Toast,
    found: &FoundSegment,
    row: RowNumber,
    attrs: &[Attr],
    arena: &mut Arena,
    (values, nulls): (*mut pg_sys::Datum, *mut bool),
) -> bool {
    let entry = &found.entry;
    let position = (row.0 - entry.first_row) as u32;
    let stored = (entry.state == SegmentState::Sealed).then(|| segment::open(main, toast, entry));
    if stored.is_some() && position >= entry.rows {
        return false;
    }
    arena.reset();
    let file = compat::file_number(main);
    for (i, attr) in attrs.iter().enumerate() {
        let value = if attr.dropped {
            None
        } else if let Some(segment) = &stored {
            match segment.column(attr.number) {
                Some(column) => {
                    let scale = segment.scale(column);
                    segment.value(main, toast, column, position, |vector, at| {
                        datum(vector, at, attr, scale, arena)
                    })
                }
                None => missing(main, attr),
            }
        } else {
            match builder::value(
                file,
                entry.first_row,
                usize::from(attr.number) - 1,
                position,
            ) {
                Some((vector, scale)) => datum(&vector, 0, attr, scale, arena),
                None => return false,
            }
        };
        // SAFETY: the caller vouches for the room.
        unsafe {
            *values.add(i) = value.unwrap_or(pg_sys::Datum::from(0));
            *nulls.add(i) = value.is_none();
        }
    }
    true
}
