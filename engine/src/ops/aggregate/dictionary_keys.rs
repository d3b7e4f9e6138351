// SPDX-License-Identifier: Apache-2.0
//! Text among several grouping keys, by number.
//!
//! Keys of several columns, some of them text, are long and slow to hash and compare. Where the text repeats (it comes
//! in dictionaries, or a first batch shows it), each different value gets a number that all threads share, and the
//! grouping is one of integers. A dictionary's entries are looked up once a thread; groups leave with one dictionary
//! of all values.
//!
//! Numbered values cannot be spilled. Once they take too much, further rows are grouped by the text itself, and in the
//! end the groups so far join them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use doris_storage::vector::{Bitmap, BytesColumn, Physical, Values, Vector};
use hashbrown::HashMap;

use super::inputs::Inputs;
use super::{plain_grouper, Grouper, Grouping, TakeGroups};
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::exec::driver::{lock, Driver};
use crate::exec::per_thread::PerThread;
use crate::exec::query::{Chunk, Worker};
use crate::exec::stream::{Emit, Stage, Stream};
use crate::keys::KeyShape;
use crate::memory::Reservation;
use crate::types::DataType;

/// Values without a dictionary repeat when a batch has at most one different value in so many rows.
const REPEATS: usize = 8;
/// Memory that a number takes besides its value's bytes.
const ENTRY_BYTES: usize = 48;
/// Values take at most one part in so many of the memory, and none of less than this.
const SHARE: usize = 4;
const LIMIT_BYTES_MIN: usize = 16 << 20;
/// Stands for a dictionary entry whose number is not known.
const UNKNOWN: u32 = u32::MAX;

/// Whether a grouping may be by number: several keys, text among them, that fit in words with numbers in its place.
fn candidate(grouping: &Grouping) -> Option<KeyShape> {
    let types = grouping.shape.types();
    let is_text = |t: &DataType| t.physical() == Physical::Bytes;
    if types.len() < 2 || !types.iter().any(is_text) || grouping.shape.words().is_some() {
        return None;
    }
    let number = |t: &DataType| if is_text(t) { DataType::Int4 } else { *t };
    let types: Vec<DataType> = types.iter().map(number).collect();
    let shape = KeyShape::new(&types, grouping.shape.nullable()).ok()?;
    shape.words().is_some().then_some(shape)
}

/// The grouper for a grouping, decided by the first rows.
pub(super) fn grouper(grouping: Grouping) -> Box<dyn Grouper> {
    match candidate(&grouping) {
        None => plain_grouper(grouping),
        Some(shape) => Box::new(Undecided {
            grouping,
            shape,
            decided: OnceLock::new(),
        }),
    }
}

struct Undecided {
    grouping: Grouping,
    shape: KeyShape,
    decided: OnceLock<Box<dyn Grouper>>,
}

impl Undecided {
    fn decide(&self, worker: &Worker<'_>, inputs: &Inputs) -> Box<dyn Grouper> {
        let repeats = self
            .grouping
            .members
            .iter()
            .all(|&m| repeats(&inputs.keys[m]));
        if !repeats || worker.query.budget.limit_bytes() < LIMIT_BYTES_MIN {
            return plain_grouper(self.grouping.clone());
        }
        let members = self.grouping.members.iter();
        let text = |m: &&usize| inputs.keys[**m].physical() == Physical::Bytes;
        let coded = members.filter(text).copied().collect();
        let mut grouping = self.grouping.clone();
        grouping.output.key_types = grouping
            .output
            .key_types
            .iter()
            .map(|&t| number(t))
            .collect();
        grouping.shape = self.shape.clone();
        Box::new(DictionaryKeys {
            coded,
            numbers: Arc::new(Numbers::new(&worker.query.budget)),
            idle: PerThread::default(),
            inner: plain_grouper(grouping),
            plain: plain_grouper(self.grouping.clone()),
        })
    }
}

fn number(t: DataType) -> DataType {
    match t.physical() {
        Physical::Bytes => DataType::Int4,
        _ => t,
    }
}

/// Whether a key's values repeat, as far as these rows show it; what is not text does not matter.
fn repeats(key: &Vector) -> bool {
    let Values::Bytes(values) = &key.values else {
        return true;
    };
    let mut different: HashMap<&[u8], ()> = HashMap::new();
    values.iter().for_each(|value| {
        different.insert(value, ());
    });
    different.len() * REPEATS <= values.len()
}

impl Grouper for Undecided {
    fn push(&self, worker: &Worker<'_>, inputs: &Inputs) -> Result<()> {
        self.decided
            .get_or_init(|| self.decide(worker, inputs))
            .push(worker, inputs)
    }

    fn merge(&self, driver: &Driver, states: &[Vec<Vector>]) -> Result<()> {
        self.decided
            .get_or_init(|| plain_grouper(self.grouping.clone()))
            .merge(driver, states)
    }

    fn absorb(&self, worker: &Worker<'_>, keys: &[Vector], states: &[Vec<Vector>]) -> Result<()> {
        self.decided
            .get_or_init(|| plain_grouper(self.grouping.clone()))
            .absorb(worker, keys, states)
    }

    fn give_away(self: Box<Self>, driver: &Driver, take: &TakeGroups<'_>) -> Result<()> {
        match self.decided.into_inner() {
            Some(grouper) => grouper.give_away(driver, take),
            None => Ok(()),
        }
    }

    fn finish(self: Box<Self>, driver: &Driver) -> Result<Stream> {
        let Undecided {
            grouping, decided, ..
        } = *self;
        match decided.into_inner() {
            Some(grouper) => grouper.finish(driver),
            None => plain_grouper(grouping).finish(driver),
        }
    }
}

/// The numbers of all values met, shared by all threads.
struct Numbers {
    known: Mutex<Known>,
    /// Whether the values take too much memory.
    full: AtomicBool,
}

struct Known {
    numbers: HashMap<Box<[u8]>, u32>,
    values: BytesColumn,
    memory: Reservation,
    limit: usize,
    bytes: usize,
}

impl Numbers {
    fn new(budget: &Arc<crate::memory::MemoryBudget>) -> Self {
        Self {
            known: Mutex::new(Known {
                numbers: HashMap::new(),
                values: BytesColumn::default(),
                memory: Reservation::new(budget),
                limit: budget.limit_bytes(),
                bytes: 0,
            }),
            full: AtomicBool::new(false),
        }
    }

    /// The numbers of some values.
    fn look_up<'v>(
        &self,
        values: impl Iterator<Item = &'v [u8]>,
        out: &mut Vec<u32>,
    ) -> Result<()> {
        let mut known = lock(&self.known);
        let known = &mut *known;
        for value in values {
            let number = match known.numbers.get(value) {
                Some(&number) => number,
                None => {
                    if known.values.data.len() + value.len() > u32::MAX as usize {
                        return Err(Error::OutOfMemory);
                    }
                    let number = known.values.len() as u32;
                    known.bytes += 2 * value.len() + ENTRY_BYTES;
                    known.numbers.insert(value.into(), number);
                    known.values.push(value);
                    number
                }
            };
            out.push(number);
        }
        if known.bytes > known.memory.bytes() {
            // Ahead of need, so that most batches ask for nothing.
            let share = known.limit / SHARE;
            // The groups give way, by spilling; the values they name cannot, and must leave them room.
            let ahead = (known.bytes + known.bytes / 4).min(share);
            if known.bytes > share || known.memory.resize(ahead).is_err() {
                known.memory.hold(known.bytes);
                self.full.store(true, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

/// What a thread knows of dictionaries: the numbers of their entries.
#[derive(Default)]
struct Translations {
    dictionaries: Vec<(Arc<BytesColumn>, Vec<u32>)>,
    numbers: HashMap<Box<[u8]>, u32>,
}

/// Dictionaries and values that a thread keeps numbers of.
const DICTIONARIES_KEPT: usize = 64;
const VALUES_KEPT: usize = 16 * 1024;

impl Translations {
    /// A key's values as numbers.
    fn translate(&mut self, all: &Numbers, key: &Vector) -> Result<Vector> {
        let numbers = match &key.values {
            Values::Dict { codes, dict } => self.of_codes(all, key, codes, dict)?,
            _ => self.of_values(all, key)?,
        };
        Ok(Vector {
            values: Values::I32(numbers),
            validity: key.validity.clone(),
        })
    }

    fn of_codes(
        &mut self,
        all: &Numbers,
        key: &Vector,
        codes: &[u32],
        dict: &Arc<BytesColumn>,
    ) -> Result<Vec<i32>> {
        let known = self
            .dictionaries
            .iter()
            .position(|(known, _)| Arc::ptr_eq(known, dict));
        let at = match known {
            Some(at) => at,
            None => {
                if self.dictionaries.len() == DICTIONARIES_KEPT {
                    self.dictionaries.remove(0);
                }
                self.dictionaries
                    .push((dict.clone(), vec![UNKNOWN; dict.len()]));
                self.dictionaries.len() - 1
            }
        };
        let table = &mut self.dictionaries[at].1;
        if let (None, Some(last)) = (&key.validity, table.len().checked_sub(1)) {
            let number = |&code: &u32| table[(code as usize).min(last)];
            let out: Vec<i32> = codes.iter().map(|code| number(code) as i32).collect();
            if !out.contains(&(UNKNOWN as i32)) {
                return Ok(out);
            }
        }
        let mut missing: Vec<u32> = Vec::new();
        let mut out = Vec::with_capacity(codes.len());
        for (row, &code) in codes.iter().enumerate() {
            let number = table.get(code as usize).copied().unwrap_or(0);
            if number == UNKNOWN && !key.is_null(row) {
                missing.push(code);
            }
            out.push(number as i32);
        }
        if missing.is_empty() {
            return Ok(out);
        }
        missing.sort_unstable();
        missing.dedup();
        let mut numbers = Vec::with_capacity(missing.len());
        all.look_up(
            missing.iter().map(|&code| dict.get(code as usize)),
            &mut numbers,
        )?;
        for (&code, &number) in missing.iter().zip(&numbers) {
            table[code as usize] = number;
        }
        for (number, &code) in out.iter_mut().zip(codes) {
            *number = table.get(code as usize).copied().unwrap_or(0) as i32;
        }
        Ok(out)
    }

    fn of_values(&mut self, all: &Numbers, key: &Vector) -> Result<Vec<i32>> {
        if self.numbers.len() > VALUES_KEPT {
            self.numbers.clear();
        }
        let rows = key.len();
        let mut out = vec![0; rows];
        let mut missing: Vec<u32> = Vec::new();
        for (row, number) in out.iter_mut().enumerate() {
            if key.is_null(row) {
                continue;
            }
            match self.numbers.get(key.bytes(row).unwrap_or_default()) {
                Some(&known) => *number = known as i32,
                None => missing.push(row as u32),
            }
        }
        let value = |row: &u32| key.bytes(*row as usize).unwrap_or_default();
        let mut numbers = Vec::with_capacity(missing.len());
        all.look_up(missing.iter().map(value), &mut numbers)?;
        for (row, number) in missing.iter().zip(numbers) {
            out[*row as usize] = number as i32;
            self.numbers.insert(value(row).into(), number);
        }
        Ok(out)
    }
}

/// A grouping by numbers.
struct DictionaryKeys {
    /// The inputs' key columns that are numbered.
    coded: Vec<usize>,
    numbers: Arc<Numbers>,
    /// Translations that no thread is using at the moment.
    idle: PerThread<Translations>,
    inner: Box<dyn Grouper>,
    /// Groups of the rows that came after the values took too much memory.
    plain: Box<dyn Grouper>,
}

impl Grouper for DictionaryKeys {
    fn push(&self, worker: &Worker<'_>, inputs: &Inputs) -> Result<()> {
        if self.numbers.full.load(Ordering::Relaxed) {
            return self.plain.push(worker, inputs);
        }
        let mut translations = self.idle.take().unwrap_or_default();
        let mut keys = inputs.keys.clone();
        for &key in &self.coded {
            keys[key] = Arc::new(translations.translate(&self.numbers, &keys[key])?);
        }
        self.idle.put(translations);
        self.inner.push(worker, &inputs.with_keys(keys))
    }

    fn merge(&self, driver: &Driver, states: &[Vec<Vector>]) -> Result<()> {
        self.inner.merge(driver, states)
    }

    fn absorb(&self, worker: &Worker<'_>, keys: &[Vector], states: &[Vec<Vector>]) -> Result<()> {
        self.plain.absorb(worker, keys, states)
    }

    fn give_away(self: Box<Self>, driver: &Driver, take: &TakeGroups<'_>) -> Result<()> {
        let DictionaryKeys {
            coded,
            numbers,
            inner,
            plain,
            ..
        } = *self;
        give_named(driver, inner, Named::new(coded, numbers), take)?;
        plain.give_away(driver, take)
    }

    fn finish(self: Box<Self>, driver: &Driver) -> Result<Stream> {
        let DictionaryKeys {
            coded,
            numbers,
            inner,
            plain,
            ..
        } = *self;
        let full = numbers.full.load(Ordering::Relaxed);
        let named = Named::new(coded, numbers);
        if !full {
            return Ok(inner.finish(driver)?.through(Arc::new(named)));
        }
        give_named(driver, inner, named, &|worker, keys, states| {
            plain.absorb(worker, &keys, states)
        })?;
        plain.finish(driver)
    }
}

/// Gives groups away with values in place of their numbers.
fn give_named(
    driver: &Driver,
    groups: Box<dyn Grouper>,
    named: Named,
    take: &TakeGroups<'_>,
) -> Result<()> {
    groups.give_away(driver, &|worker, mut keys, states| {
        for &key in &named.coded {
            keys[key] = named.named(&keys[key]);
        }
        take(worker, keys, states)
    })
}

/// Gives numbers their values back.
struct Named {
    coded: Vec<usize>,
    values: Arc<BytesColumn>,
    /// Holds the values' memory.
    _numbers: Arc<Numbers>,
}

impl Stage for Named {
    fn push(&self, _: &Worker<'_>, chunk: Chunk, emit: &mut Emit<'_>) -> Result<()> {
        let Chunk { batch, selection } = chunk;
        let mut columns = batch.columns;
        for &column in &self.coded {
            columns[column] = Arc::new(self.named(&columns[column]));
        }
        let batch = Batch {
            columns,
            rows: batch.rows,
        };
        emit(Chunk { batch, selection })
    }
}

impl Named {
    fn new(coded: Vec<usize>, numbers: Arc<Numbers>) -> Self {
        let mut known = lock(&numbers.known);
        let values = Arc::new(std::mem::take(&mut known.values));
        known.numbers = HashMap::new();
        drop(known);
        Self {
            coded,
            values,
            _numbers: numbers,
        }
    }

    fn named(&self, numbers: &Vector) -> Vector {
        let codes: Vec<u32> = match &numbers.values {
            Values::I32(numbers) => numbers.iter().map(|&n| n as u32).collect(),
            _ => Vec::new(),
        };
        let validity: Option<Bitmap> = numbers.validity.clone();
        Vector {
            values: Values::Dict {
                codes,
                dict: self.values.clone(),
            },
            validity,
        }
    }
}
