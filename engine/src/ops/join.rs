// SPDX-License-Identifier: Apache-2.0
//! Joins: the build side in a table, the probe side streaming past it.
//!
//! ```text
//! build rows --> parts (encoded keys, hashes, wanted columns), on all threads
//!            --> table: columns end to end; key -> first row; row -> next row with the same key
//!            --> runtime filters, down the probe side
//! probe rows --> candidate pairs --> residual --> output                      (phase 1, on all threads)
//!            --> marks on met build rows --> unmet or met build rows          (phase 2)
//! ```
//! Without keys every build row is a candidate for every probe row: the nested loop is the same operator.
//!
//! Where estimates are not to be trusted the sides may change places: see `side_swap`.
//!
//! Where inner joins follow each other on one key, what the later one's build side knows of it reduces the build side
//! of the earlier one too: see `early_build`. Plans that run again and again keep tables: see `build_cache`.
//!
//! In the order data travels: `build` collects parts, `table` indexes them, `probe` is the streaming stage,
//! `unmatched_build` is phase 2; `spill` is the detour for build sides larger than memory, by way of files
//! (`partition_files`) and, where one key has too many rows, `block_nested_loop`.

mod build;

mod early_build;

mod side_swap;

mod table;

pub mod build_cache;

mod probe;

mod unmatched_build;

mod spill;

mod partition_files;

mod block_nested_loop;

use std::sync::Arc;

use doris_storage::vector::{Bitmap, Vector};

use self::build::Built;
use crate::error::{Error, Result};
use crate::exec::driver::Driver;
use crate::exec::executor::{Opening, Wanted};
use crate::exec::stream::Stream;
use crate::expr::{Expr, ExprKind};
use crate::keys::{ByteKeys, KeyColumn, KeyShape, WordKeys};
use crate::plan::{Join, JoinKind};
use crate::types::DataType;

/// What build and probe know of a join.
#[derive(Clone)]
pub(crate) struct Shape {
    id: u32,
    kind: JoinKind,
    keys: KeyShape,
    probe_keys: Vec<Expr>,
    build_keys: Vec<Expr>,
    null_safe: Vec<bool>,
    residual: Option<Expr>,
    probe_types: Vec<DataType>,
    build_types: Vec<DataType>,
    output: Vec<usize>,
    /// Columns that the residual looks at, among probe and build columns.
    residual_columns: Vec<usize>,
    /// Whether its rows are those that EXPLAIN shows.
    counts: bool,
}

impl Shape {
    fn new(id: u32, join: &Join) -> Result<Self> {
        let types: Vec<DataType> = join.keys.iter().map(|key| key.build.data_type()).collect();
        let null_safe: Vec<bool> = join.keys.iter().map(|key| key.null_safe).collect();
        let layouts_agree = join
            .keys
            .iter()
            .all(|key| key.probe.data_type().physical() == key.build.data_type().physical());
        let not_in = join.kind == JoinKind::AntiNotIn;
        if !layouts_agree
            || not_in && (join.keys.len() != 1 || join.residual.is_some() || null_safe[0])
        {
            return Err(Error::not_native(
                "join keys of different types, or an odd NOT IN",
            ));
        }
        Ok(Self {
            id,
            kind: join.kind,
            keys: KeyShape::new(&types, &null_safe)?,
            probe_keys: join.keys.iter().map(|key| key.probe.clone()).collect(),
            build_keys: join.keys.iter().map(|key| key.build.clone()).collect(),
            null_safe,
            residual: join.residual.clone(),
            probe_types: join.probe.types.clone(),
            build_types: join.build.types.clone(),
            output: join.output.clone(),
            residual_columns: join
                .residual
                .as_ref()
                .map(Expr::columns)
                .unwrap_or_default(),
            counts: true,
        })
    }

    /// Whether build column `column` is needed after the table is built.
    fn keeps_build_column(&self, column: usize) -> bool {
        let at = self.probe_types.len() + column;
        self.output.contains(&at) || self.residual_columns.contains(&at)
    }

    /// Whether workers can evaluate the residual; otherwise pairs are made on the driving thread.
    fn is_native(&self) -> bool {
        self.residual.as_ref().is_none_or(Expr::is_native)
    }

    /// Whether the residual may raise an error, so that a row which has met its partner must not be shown another.
    fn residual_raises(&self) -> bool {
        self.residual.as_ref().is_some_and(Expr::can_raise)
    }

    /// Whether build rows are marked when met.
    fn marks_build(&self) -> bool {
        marks(self.kind)
    }

    /// Rows whose keys can match at all: 1 = no NULL in a key that is not NULL-safe. `None`: all.
    fn matchable(&self, keys: &[Arc<Vector>]) -> Option<Bitmap> {
        let strict = keys.iter().zip(&self.null_safe).filter(|(_, &safe)| !safe);
        let mut all: Option<Bitmap> = None;
        for valid in strict.filter_map(|(key, _)| key.validity.as_ref()) {
            match &mut all {
                None => all = Some(valid.clone()),
                Some(all) => all
                    .words_mut()
                    .iter_mut()
                    .zip(valid.words())
                    .for_each(|(a, b)| *a &= b),
            }
        }
        all.filter(|bits| bits.count_ones() < bits.len())
    }
}

/// Whether a kind of join marks build rows when they are met.
fn marks(kind: JoinKind) -> bool {
    use JoinKind::*;
    matches!(kind, Right | Full | BuildSemi | BuildAnti)
}

/// Which input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JoinSide {
    Probe,
    Build,
}

/// Builds the table and returns the stream of joined rows. `wanted`: filters on the join's output.
pub(crate) fn open(
    driver: &Driver,
    id: u32,
    join: &Join,
    wanted: &[Wanted],
    opening: &mut Opening<'_>,
) -> Result<Stream> {
    let shape = Shape::new(id, join)?;
    if driver.kept(id).is_some() {
        return open_shape(driver, shape, join, wanted, opening, Opened::default());
    }
    match side_swap::look(driver, &shape, join, wanted, opening)? {
        None => open_shape(driver, shape, join, wanted, opening, Opened::default()),
        Some(seen) => match seen.turned {
            None => open_shape(driver, shape, join, wanted, opening, seen.opened),
            Some(turned) => {
                let shape = Shape::new(id, &turned)?;
                open_shape(driver, shape, &turned, wanted, opening, seen.opened)
            }
        },
    }
}

/// Inputs that were opened before the join knew how it goes on.
#[derive(Default)]
struct Opened {
    probe: Option<Stream>,
    build: Option<Stream>,
}

impl Opened {
    fn probe(rows: Stream) -> Self {
        let (probe, build) = (Some(rows), None);
        Self { probe, build }
    }

    fn build(rows: Stream) -> Self {
        let (probe, build) = (None, Some(rows));
        Self { probe, build }
    }
}

fn open_shape(
    driver: &Driver,
    shape: Shape,
    join: &Join,
    wanted: &[Wanted],
    opening: &mut Opening<'_>,
    opened: Opened,
) -> Result<Stream> {
    match shape.keys.words() {
        Some(1) => open_with::<WordKeys<1>>(driver, shape, join, wanted, opening, opened),
        Some(2) => open_with::<WordKeys<2>>(driver, shape, join, wanted, opening, opened),
        Some(3 | 4) | None => {
            let shape = shape.with_byte_keys()?;
            open_with::<ByteKeys>(driver, shape, join, wanted, opening, opened)
        }
        Some(_) => Err(Error::internal("keys of too many words")),
    }
}

impl Shape {
    /// Rare wide keys as bytes, to keep the number of compiled shapes down.
    fn with_byte_keys(mut self) -> Result<Self> {
        self.keys = self.keys.as_rows();
        Ok(self)
    }
}

fn open_with<K: KeyColumn>(
    driver: &Driver,
    shape: Shape,
    join: &Join,
    wanted: &[Wanted],
    opening: &mut Opening<'_>,
    mut opened: Opened,
) -> Result<Stream> {
    let shape = Arc::new(shape);
    let built = match (early_build::take(opening, shape.id)?, opened.build.take()) {
        (Some(built), _) => built,
        (None, Some(rows)) => build::build::<K>(driver, &shape, rows)?,
        (None, None) if driver.kept(shape.id).is_some() => {
            build_cache::build::<K>(driver, &shape, join, opening)?
        }
        (None, None) => {
            let mut for_build = passed_on(&shape, wanted, JoinSide::Build);
            if opened.probe.is_none() {
                for_build.extend(early_build::filters(opening, &shape, join, wanted)?);
            }
            build::build::<K>(driver, &shape, opening.open(&join.build, &for_build)?)?
        }
    };
    let mut open_probe = |filters: &[Wanted]| match opened.probe.take() {
        Some(rows) => Ok(rows),
        None => opening.open(&join.probe, filters),
    };
    let (table, mut filters) = match built {
        Built::Memory(table, filters) => (table, filters),
        Built::Spilled(..) if !shape.is_native() => {
            return Err(Error::not_native(
                "a build side larger than memory, with a condition that only PostgreSQL can evaluate",
            ));
        }
        Built::Spilled(side, totals) => {
            let for_probe = passed_on(&shape, wanted, JoinSide::Probe);
            let probe = open_probe(&for_probe)?;
            return spill::open::<K>(driver, shape, side, totals, probe);
        }
    };
    let nothing_matches = table.rows() == 0;
    if nothing_matches && !shape.kind.keeps_probe() {
        return Ok(Stream::empty());
    }
    filters.extend(passed_on(&shape, wanted, JoinSide::Probe));
    let stage = probe::Probe {
        shape: Arc::clone(&shape),
        table: Arc::clone(&table),
    };
    let joined = open_probe(&filters)?.through(Arc::new(stage));
    Ok(match shape.marks_build() {
        true => joined.then(Stream::new(Box::new(unmatched_build::UnmatchedBuild::new(
            shape, table,
        )))),
        false => joined,
    })
}

/// The filters on the output that may be applied to one input already: on columns that come from it, unless
/// the join would make up rows instead.
fn passed_on(shape: &Shape, wanted: &[Wanted], side: JoinSide) -> Vec<Wanted> {
    use JoinKind::*;
    let allowed = match side {
        JoinSide::Probe => matches!(shape.kind, Inner | Left | Semi | Anti),
        JoinSide::Build => matches!(shape.kind, Inner | Right | BuildSemi | BuildAnti),
    };
    let width = shape.probe_types.len();
    let column_of = |w: &Wanted| {
        let at = shape.output[w.column];
        match side {
            JoinSide::Probe => (at < width).then_some(at),
            JoinSide::Build => at.checked_sub(width),
        }
    };
    let pass = |w: &Wanted| {
        Some(Wanted {
            column: column_of(w)?,
            filter: Arc::clone(&w.filter),
        })
    };
    wanted.iter().filter(|_| allowed).filter_map(pass).collect()
}

/// The probe column behind a key that a runtime filter may be applied to.
fn filterable_column(shape: &Shape, key: usize) -> Option<usize> {
    use JoinKind::*;
    let useful =
        matches!(shape.kind, Inner | Semi | Right | BuildSemi | BuildAnti) && !shape.null_safe[key];
    match shape.probe_keys[key].kind() {
        ExprKind::Column(column) if useful => Some(*column),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
