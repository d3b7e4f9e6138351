// SPDX-License-Identifier: Apache-2.0
//! HyperLogLog: the number of distinct values, exact up to 128 of them, within about 0.8 % beyond.
//!
//! ```text
//! version=1  form=0                                     nothing seen
//! version=1  form=1  count(1)  count x hash(8)          up to 128 hashes, ascending
//! version=1  form=2  count(2)  count x {index(2) rank(1)}   the registers that are not zero, ascending
//! version=1  form=3  16384 x rank(1)                    every register
//! ```
//! A hash's upper 14 bits pick its register, which keeps the largest rank: one more than the number of leading zeros in
//! the lower 50. The estimate is Ertl's ("New cardinality estimation algorithms for HyperLogLog sketches", 2017): it
//! needs no table of empirical corrections and has no seams between ranges.
use super::codec::{Reader, SketchError};
use super::hash::murmur3_64;

const VERSION: u8 = 1;
const FORM_EMPTY: u8 = 0;
const FORM_HASHES: u8 = 1;
const FORM_SPARSE: u8 = 2;
const FORM_DENSE: u8 = 3;
const PRECISION: u32 = 14;
const REGISTERS: usize = 1 << PRECISION;
const RANK_BITS: u32 = 64 - PRECISION;
const RANK_MAX: u8 = RANK_BITS as u8 + 1;
const HASHES_MAX: usize = 128;
const _: () = assert!(HASHES_MAX <= u8::MAX as usize && REGISTERS <= u16::MAX as usize + 1);

/// A distinct count.
#[derive(Debug, Clone, PartialEq)]
pub struct Hll(Form);

#[derive(Debug, Clone, PartialEq)]
enum Form {
    /// Ascending hashes, at most [`HASHES_MAX`].
    Hashes(Vec<u64>),
    Registers(Box<[u8; REGISTERS]>),
}

impl Default for Hll {
    fn default() -> Self {
        Hll(Form::Hashes(Vec::new()))
    }
}

impl Hll {
    /// A count that has seen one value of these bytes.
    pub fn of(value: &[u8]) -> Self {
        Hll(Form::Hashes(vec![Self::hash(value)]))
    }

    /// The hash under which a value of these bytes is counted. Stored counts depend on it.
    pub fn hash(value: &[u8]) -> u64 {
        murmur3_64(value, 0)
    }

    /// Counts a value by its hash.
    #[inline(always)]
    pub fn add_hash(&mut self, hash: u64) {
        match &mut self.0 {
            Form::Registers(registers) => raise(registers, hash),
            Form::Hashes(_) => self.add_first(hash),
        }
    }

    /// Which register a value's hash may raise, and to what; for [`Hll::add_places`].
    #[inline(always)]
    pub fn place(hash: u64) -> u32 {
        let (index, rank) = index_and_rank(hash);
        (index as u32) << 8 | u32::from(rank)
    }

    /// Counts values by their places.
    pub fn add_places(&mut self, places: &[u32]) {
        let registers = self.registers();
        for place in places {
            let register = &mut registers[(place >> 8) as usize % REGISTERS];
            *register = (*register).max(*place as u8);
        }
    }

    /// Counts one of the first values.
    #[cold]
    fn add_first(&mut self, hash: u64) {
        if let Form::Hashes(hashes) = &mut self.0 {
            let Err(place) = hashes.binary_search(&hash) else {
                return;
            };
            if hashes.len() < HASHES_MAX {
                hashes.insert(place, hash);
                return;
            }
        }
        raise(self.registers(), hash);
    }

    /// Counts everything the other has seen.
    pub fn merge(&mut self, other: &Hll) {
        match &other.0 {
            Form::Hashes(hashes) => hashes.iter().for_each(|hash| self.add_hash(*hash)),
            Form::Registers(theirs) => {
                let ours = self.registers();
                ours.iter_mut()
                    .zip(theirs.iter())
                    .for_each(|(our, their)| *our = (*our).max(*their));
            }
        }
    }

    /// Counts everything that a stored count has seen.
    pub fn merge_stored(&mut self, bytes: &[u8]) -> Result<(), SketchError> {
        let Some([VERSION, FORM_DENSE]) = bytes.get(..2) else {
            self.merge(&Hll::decode(bytes)?);
            return Ok(());
        };
        // Most of the bytes there are; they are looked at where they lie.
        let mut reader = Reader::new(&bytes[2..]);
        let theirs = reader.take(REGISTERS)?;
        reader.end()?;
        check_ranks(theirs)?;
        let pairs = self.registers().iter_mut().zip(theirs);
        pairs.for_each(|(our, their)| *our = (*our).max(*their));
        Ok(())
    }

    /// Bytes of memory, roughly.
    pub fn memory_bytes(&self) -> usize {
        match &self.0 {
            Form::Hashes(hashes) => hashes.capacity() * 8,
            Form::Registers(_) => REGISTERS,
        }
    }

    /// The number of distinct values seen.
    pub fn estimate(&self) -> u64 {
        match &self.0 {
            Form::Hashes(hashes) => hashes.len() as u64,
            Form::Registers(registers) => estimate(registers),
        }
    }

    /// Whether it has a register for each place, rather than a few hashes.
    pub fn is_dense(&self) -> bool {
        matches!(self.0, Form::Registers(_))
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        match &self.0 {
            Form::Hashes(hashes) if hashes.is_empty() => vec![VERSION, FORM_EMPTY],
            Form::Hashes(hashes) => {
                let mut out = vec![VERSION, FORM_HASHES, hashes.len() as u8];
                out.extend(hashes.iter().flat_map(|hash| hash.to_le_bytes()));
                out
            }
            Form::Registers(registers) => encode_registers(registers),
        }
    }

    /// Decodes a stored count.
    pub fn decode(bytes: &[u8]) -> Result<Self, SketchError> {
        let mut reader = Reader::new(bytes);
        reader.version(VERSION)?;
        let form = match reader.u8()? {
            FORM_EMPTY => Form::Hashes(Vec::new()),
            FORM_HASHES => decode_hashes(&mut reader)?,
            FORM_SPARSE => decode_sparse(&mut reader)?,
            FORM_DENSE => decode_dense(&mut reader)?,
            _ => return Err(SketchError::Corrupt("the hll value has an unknown form")),
        };
        reader.end()?;
        Ok(Hll(form))
    }

    fn registers(&mut self) -> &mut [u8; REGISTERS] {
        if let Form::Hashes(hashes) = &self.0 {
            let mut registers = Box::new([0; REGISTERS]);
            hashes.iter().for_each(|hash| raise(&mut registers, *hash));
            self.0 = Form::Registers(registers);
        }
        match &mut self.0 {
            Form::Registers(registers) => registers,
            Form::Hashes(_) => unreachable!("turned into registers above"),
        }
    }
}

#[inline(always)]
fn index_and_rank(hash: u64) -> (usize, u8) {
    // The bit below the ranked ones ends the count of zeros at RANK_BITS.
    let rank = (hash << PRECISION | 1 << (PRECISION - 1)).leading_zeros() as u8 + 1;
    ((hash >> RANK_BITS) as usize, rank)
}

#[inline(always)]
fn raise(registers: &mut [u8; REGISTERS], hash: u64) {
    let (index, rank) = index_and_rank(hash);
    let register = &mut registers[index];
    // Nearly never, once many values were seen: nobody waits for the register then.
    if *register < rank {
        *register = rank;
    }
}

fn encode_registers(registers: &[u8; REGISTERS]) -> Vec<u8> {
    let used = registers.iter().filter(|rank| **rank != 0).count();
    if used * 3 >= REGISTERS {
        return [[VERSION, FORM_DENSE].as_slice(), registers.as_slice()].concat();
    }
    let mut out = vec![VERSION, FORM_SPARSE];
    out.extend((used as u16).to_le_bytes());
    for (index, rank) in registers.iter().enumerate().filter(|(_, rank)| **rank != 0) {
        out.extend((index as u16).to_le_bytes());
        out.push(*rank);
    }
    out
}

fn decode_hashes(reader: &mut Reader<'_>) -> Result<Form, SketchError> {
    let count = reader.u8()? as usize;
    let hashes = (0..count)
        .map(|_| reader.u64())
        .collect::<Result<Vec<u64>, _>>()?;
    if count == 0 || count > HASHES_MAX || !hashes.windows(2).all(|pair| pair[0] < pair[1]) {
        return Err(SketchError::Corrupt(
            "the hashes of an hll value are not a sorted set",
        ));
    }
    Ok(Form::Hashes(hashes))
}

fn decode_sparse(reader: &mut Reader<'_>) -> Result<Form, SketchError> {
    let mut registers = Box::new([0; REGISTERS]);
    let mut next = 0;
    for _ in 0..reader.u16()? {
        let index = reader.u16()? as usize;
        let rank = reader.u8()?;
        if index < next || index >= REGISTERS || rank == 0 || rank > RANK_MAX {
            return Err(SketchError::Corrupt(
                "the registers of an hll value are damaged",
            ));
        }
        registers[index] = rank;
        next = index + 1;
    }
    Ok(Form::Registers(registers))
}

fn decode_dense(reader: &mut Reader<'_>) -> Result<Form, SketchError> {
    let mut registers = Box::new([0; REGISTERS]);
    registers.copy_from_slice(reader.take(REGISTERS)?);
    check_ranks(registers.as_slice())?;
    Ok(Form::Registers(registers))
}

fn check_ranks(registers: &[u8]) -> Result<(), SketchError> {
    match registers.iter().max() {
        Some(rank) if *rank > RANK_MAX => Err(SketchError::Corrupt(
            "the registers of an hll value are damaged",
        )),
        _ => Ok(()),
    }
}

/// Ertl's improved raw estimator: `tau` accounts for saturated registers, `sigma` for untouched ones.
fn estimate(registers: &[u8; REGISTERS]) -> u64 {
    let mut ranks = [0u32; RANK_MAX as usize + 1];
    registers.iter().for_each(|rank| ranks[*rank as usize] += 1);
    let m = REGISTERS as f64;
    let mut z = m * tau(1.0 - f64::from(ranks[RANK_MAX as usize]) / m);
    for rank in (1..RANK_MAX as usize).rev() {
        z = 0.5 * (z + f64::from(ranks[rank]));
    }
    z += m * sigma(f64::from(ranks[0]) / m);
    (m * m / (2.0 * std::f64::consts::LN_2) / z).round() as u64
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z == before {
            return z / 3.0;
        }
    }
}
