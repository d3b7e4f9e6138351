// SPDX-License-Identifier: Apache-2.0
//! String functions over UTF-8, in characters where PostgreSQL counts characters.
//!
//! Every function is one of a row's byte slices, so that the loops over rows are here once. Counting characters is
//! counting bytes that do not continue one; where a prefix is ASCII, offsets need no counting at all.

use doris_storage::vector::{BytesColumn, Values, Vector};
use memchr::memmem;

use super::compare::without_blanks;
use crate::error::{Error, Result};
use crate::expr::context::TextRoom;
use crate::expr::ir::Func;
use crate::expr::operand::{strict_validity, Operand};
use crate::types::DataType;

/// PostgreSQL's largest allocation, which bounds `lpad` and `rpad` before they start.
const ALLOCATION_BYTES_MAX: i64 = 0x3fff_ffff;
/// Bytes of the longest UTF-8 character.
const CHAR_BYTES_MAX: i64 = 4;

/// Appends a value; a vector holds at most 4 GiB.
pub(in crate::expr) fn push(column: &mut BytesColumn, value: &[u8]) -> Result<()> {
    column.data.extend_from_slice(value);
    end_value(column)
}

fn end_value(column: &mut BytesColumn) -> Result<()> {
    column
        .offsets
        .push(u32::try_from(column.data.len()).map_err(|_| Error::OutOfMemory)?);
    Ok(())
}

/// `func(operands)`; none is the NULL constant but for `concat`.
pub(in crate::expr) fn call(
    func: Func,
    types: &[DataType],
    operands: &[Operand],
    rows: usize,
    room: &TextRoom<'_>,
) -> Result<Vector> {
    let bytes = |argument: usize, row: usize| operands[argument].bytes(row);
    if func == Func::CharLength && !matches!(types[0], DataType::Bpchar { .. }) {
        if let Some(text) = column(&operands[0]).filter(|text| is_all_ascii(text)) {
            return Ok(lengths(text, operands, rows));
        }
    }
    match func {
        Func::CharLength => integers(operands, rows, |row| {
            let value = bytes(0, row);
            let value = if matches!(types[0], DataType::Bpchar { .. }) {
                without_blanks(value)
            } else {
                value
            };
            char_count(value) as i32
        }),
        Func::Ascii => integers(operands, rows, |row| code_point(bytes(0, row))),
        Func::OctetLength => match column(&operands[0]) {
            Some(text) => Ok(lengths(text, operands, rows)),
            None => integers(operands, rows, |row| bytes(0, row).len() as i32),
        },
        Func::Position => integers(operands, rows, |row| position(bytes(0, row), bytes(1, row))),
        Func::StartsWith => {
            let test = |row| u8::from(bytes(0, row).starts_with(bytes(1, row)));
            let values = Values::Bool((0..rows).map(test).collect());
            Ok(Vector {
                values,
                validity: strict_validity(operands, rows),
            })
        }
        Func::Concat => concat(operands, rows, room),
        Func::ConcatWith => concat_with(operands, rows, room),
        _ => texts(func, operands, rows, room),
    }
}

fn integers(operands: &[Operand], rows: usize, of: impl Fn(usize) -> i32) -> Result<Vector> {
    let values = Values::I32((0..rows).map(of).collect());
    Ok(Vector {
        values,
        validity: strict_validity(operands, rows),
    })
}

/// The values of a column that is not a dictionary's.
fn column(operand: &Operand) -> Option<&BytesColumn> {
    match operand {
        Operand::Vector(vector) => match &vector.values {
            Values::Bytes(column) => Some(column),
            _ => None,
        },
        Operand::Scalar(_) => None,
    }
}

/// Whether every character of a column is a byte; one look at all of it costs less than one at each value.
fn is_all_ascii(text: &BytesColumn) -> bool {
    let end = text.offsets.last().map_or(0, |&end| end as usize);
    text.data[..end].is_ascii()
}

/// The lengths of a column's values, in bytes.
fn lengths(text: &BytesColumn, operands: &[Operand], rows: usize) -> Vector {
    let length = |ends: &[u32]| (ends[1] - ends[0]) as i32;
    let values = text.offsets[..=rows].windows(2).map(length).collect();
    Vector {
        values: Values::I32(values),
        validity: strict_validity(operands, rows),
    }
}

/// The functions whose result is text.
fn texts(func: Func, operands: &[Operand], rows: usize, room: &TextRoom<'_>) -> Result<Vector> {
    let validity = strict_validity(operands, rows);
    let mut out = BytesColumn {
        offsets: Vec::with_capacity(rows + 1),
        data: Vec::new(),
    };
    out.offsets.push(0);
    for row in 0..rows {
        if validity.as_ref().is_none_or(|bits| bits.get(row)) {
            text_of_row(func, operands, row, &mut out.data, room)?;
        }
        end_value(&mut out)?;
    }
    Ok(Vector {
        values: Values::Bytes(out),
        validity,
    })
}

fn text_of_row(
    func: Func,
    operands: &[Operand],
    row: usize,
    out: &mut Vec<u8>,
    room: &TextRoom<'_>,
) -> Result<()> {
    let bytes = |argument: usize| operands[argument].bytes(row);
    let integer = |argument: usize| operands[argument].side::<i32>().map(|side| side.get(row));
    let value = bytes(0);
    // Most give no more than that.
    room.make(out, value.len())?;
    match func {
        Func::Upper => out.extend(value.iter().map(u8::to_ascii_uppercase)),
        Func::Lower => out.extend(value.iter().map(u8::to_ascii_lowercase)),
        Func::Substring => {
            let length = if operands.len() > 2 {
                Some(integer(2)?)
            } else {
                None
            };
            out.extend_from_slice(substring(value, integer(1)?, length)?);
        }
        Func::Left => out.extend_from_slice(left(value, integer(1)?)),
        Func::Right => out.extend_from_slice(right(value, integer(1)?)),
        Func::Trim { left, right } => {
            let set: &[u8] = if operands.len() > 1 { bytes(1) } else { b" " };
            out.extend_from_slice(trim(value, set, left, right));
        }
        Func::Append => {
            for argument in 0..operands.len() {
                room.push(out, bytes(argument))?;
            }
        }
        Func::Replace => replace(value, bytes(1), bytes(2), out, room)?,
        Func::SplitPart => out.extend_from_slice(split_part(value, bytes(1), integer(2)?)?),
        Func::Pad { left } => pad(value, integer(1)?, (bytes(2), left), out, room)?,
        Func::Translate => translate(value, bytes(1), bytes(2), out, room)?,
        Func::InitCap => init_cap(value, out),
        Func::Reverse => {
            let mut rest = value;
            while !rest.is_empty() {
                let start = last_char(rest);
                out.extend_from_slice(&rest[start..]);
                rest = &rest[..start];
            }
        }
        _ => return Err(Error::internal(format!("no kernel for {func:?}"))),
    }
    Ok(())
}

fn concat(operands: &[Operand], rows: usize, room: &TextRoom<'_>) -> Result<Vector> {
    let mut out = BytesColumn::default();
    for row in 0..rows {
        for operand in operands.iter().filter(|operand| !operand.is_null(row)) {
            room.push(&mut out.data, operand.bytes(row))?;
        }
        end_value(&mut out)?;
    }
    Ok(Vector {
        values: Values::Bytes(out),
        validity: None,
    })
}

/// `concat_ws`: the first operand goes between the others.
fn concat_with(operands: &[Operand], rows: usize, room: &TextRoom<'_>) -> Result<Vector> {
    let mut out = BytesColumn::default();
    let Some((delimiter, operands)) = operands.split_first() else {
        return Err(Error::internal("concat_ws of nothing"));
    };
    for row in 0..rows {
        let present = operands.iter().filter(|operand| !operand.is_null(row));
        if !delimiter.is_null(row) {
            for (number, operand) in present.enumerate() {
                if number > 0 {
                    room.push(&mut out.data, delimiter.bytes(row))?;
                }
                room.push(&mut out.data, operand.bytes(row))?;
            }
        }
        end_value(&mut out)?;
    }
    Ok(Vector {
        values: Values::Bytes(out),
        validity: strict_validity(std::slice::from_ref(delimiter), rows),
    })
}

/// The number of the first character; 0 of nothing.
fn code_point(value: &[u8]) -> i32 {
    let Some(&first) = value.first() else {
        return 0;
    };
    let lead = match first {
        0..=0xbf => return first.into(),
        0xc0..=0xdf => first & 0x1f,
        0xe0..=0xef => first & 0x0f,
        _ => first & 0x07,
    };
    let rest = &value[1..first_char(value)];
    rest.iter()
        .fold(i32::from(lead), |n, byte| n << 6 | i32::from(byte & 0x3f))
}

/// Characters of `from` become those of `to` at the same place, or go.
fn translate(
    value: &[u8],
    from: &[u8],
    to: &[u8],
    out: &mut Vec<u8>,
    room: &TextRoom<'_>,
) -> Result<()> {
    // Every character might become one of the longest, behind a header of four bytes.
    if value.len() as i64 * CHAR_BYTES_MAX + 4 > ALLOCATION_BYTES_MAX {
        return Err(Error::LengthTooLarge);
    }
    let mut rest = value;
    while !rest.is_empty() {
        let (one, after) = rest.split_at(first_char(rest));
        rest = after;
        let (mut unseen, mut place) = (from, 0);
        while !unseen.is_empty() && &unseen[..first_char(unseen)] != one {
            unseen = &unseen[first_char(unseen)..];
            place += 1;
        }
        if unseen.is_empty() {
            room.push(out, one)?;
            continue;
        }
        let replacement = &to[char_offset(to, place)..];
        if !replacement.is_empty() {
            room.push(out, &replacement[..first_char(replacement)])?;
        }
    }
    Ok(())
}

/// ASCII letters at the start of words as capitals, others as small letters.
fn init_cap(value: &[u8], out: &mut Vec<u8>) {
    let mut in_word = false;
    for byte in value {
        let byte = match in_word {
            true => byte.to_ascii_lowercase(),
            false => byte.to_ascii_uppercase(),
        };
        in_word = byte.is_ascii_alphanumeric();
        out.push(byte);
    }
}

/// Whether a byte continues a character.
#[inline]
fn continues(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

/// Number of characters.
#[inline]
pub(in crate::expr) fn char_count(value: &[u8]) -> usize {
    if value.is_ascii() {
        return value.len();
    }
    value
        .iter()
        .map(|&byte| usize::from(!continues(byte)))
        .sum()
}

/// Bytes of the first character; `value` is not empty.
#[inline]
pub(in crate::expr) fn first_char(value: &[u8]) -> usize {
    let length = match value[0] {
        0..=0xbf => 1,
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        _ => 4,
    };
    length.min(value.len())
}

/// Where the last character starts; `value` is not empty.
fn last_char(value: &[u8]) -> usize {
    value
        .iter()
        .rposition(|&byte| !continues(byte))
        .unwrap_or(0)
}

/// Where character `n` starts; the end when there are not so many.
fn char_offset(value: &[u8], n: usize) -> usize {
    let ahead = &value[..n.min(value.len())];
    if ahead.is_ascii() {
        return ahead.len();
    }
    let mut starts = value
        .iter()
        .enumerate()
        .filter(|(_, &byte)| !continues(byte))
        .map(|(at, _)| at);
    starts.nth(n).unwrap_or(value.len())
}

fn substring(value: &[u8], start: i32, length: Option<i32>) -> Result<&[u8]> {
    let first = i64::from(start.max(1));
    let end = match length {
        None => i64::MAX,
        Some(length) if length < 0 => return Err(Error::SubstringNegativeLength),
        Some(length) => i64::from(start) + i64::from(length),
    };
    if end <= first {
        return Ok(&[]);
    }
    let rest = &value[char_offset(value, (first - 1) as usize)..];
    Ok(&rest[..char_offset(rest, (end - first) as usize)])
}

/// How many characters `n` stands for: a negative one leaves off as many.
fn counted(value: &[u8], n: i32) -> usize {
    match n {
        0.. => n as usize,
        _ => char_count(value).saturating_sub(n.unsigned_abs() as usize),
    }
}

fn left(value: &[u8], n: i32) -> &[u8] {
    &value[..char_offset(value, counted(value, n))]
}

fn right(value: &[u8], n: i32) -> &[u8] {
    let skip = match n {
        0.. => char_count(value).saturating_sub(n as usize),
        _ => n.unsigned_abs() as usize,
    };
    &value[char_offset(value, skip)..]
}

fn trim<'v>(mut value: &'v [u8], set: &[u8], left: bool, right: bool) -> &'v [u8] {
    let in_set = |one: &[u8]| {
        let mut rest = set;
        while !rest.is_empty() {
            let (member, after) = rest.split_at(first_char(rest));
            if member == one {
                return true;
            }
            rest = after;
        }
        false
    };
    while left && !value.is_empty() && in_set(&value[..first_char(value)]) {
        value = &value[first_char(value)..];
    }
    while right && !value.is_empty() && in_set(&value[last_char(value)..]) {
        value = &value[..last_char(value)];
    }
    value
}

fn replace(
    value: &[u8],
    from: &[u8],
    to: &[u8],
    out: &mut Vec<u8>,
    room: &TextRoom<'_>,
) -> Result<()> {
    if from.is_empty() {
        out.extend_from_slice(value);
        return Ok(());
    }
    let mut copied = 0;
    for found in memmem::find_iter(value, from) {
        room.push(out, &value[copied..found])?;
        room.push(out, to)?;
        copied = found + from.len();
    }
    room.push(out, &value[copied..])
}

fn position(value: &[u8], part: &[u8]) -> i32 {
    if part.is_empty() {
        return 1;
    }
    memmem::find(value, part).map_or(0, |at| char_count(&value[..at]) as i32 + 1)
}

fn split_part<'v>(value: &'v [u8], delimiter: &[u8], n: i32) -> Result<&'v [u8]> {
    if n == 0 {
        return Err(Error::FieldPositionZero);
    }
    if value.is_empty() || delimiter.is_empty() {
        return Ok(if n == 1 || n == -1 { value } else { &[] });
    }
    let index = match n {
        1.. => n as usize - 1,
        _ => {
            let fields = memmem::find_iter(value, delimiter).count() + 1;
            match fields.checked_sub(n.unsigned_abs() as usize) {
                Some(index) => index,
                None => return Ok(&[]),
            }
        }
    };
    let mut ends = memmem::find_iter(value, delimiter);
    let start = match index {
        0 => 0,
        _ => match ends.nth(index - 1) {
            Some(at) => at + delimiter.len(),
            None => return Ok(&[]),
        },
    };
    Ok(&value[start..ends.next().unwrap_or(value.len())])
}

fn pad(
    value: &[u8],
    length: i32,
    (fill, left): (&[u8], bool),
    out: &mut Vec<u8>,
    room: &TextRoom<'_>,
) -> Result<()> {
    let wanted = length.max(0) as usize;
    let kept = &value[..char_offset(value, wanted)];
    let missing = if fill.is_empty() {
        0
    } else {
        wanted - char_count(kept)
    };
    let total = (char_count(kept) + missing) as i64;
    if total * CHAR_BYTES_MAX + CHAR_BYTES_MAX > ALLOCATION_BYTES_MAX {
        return Err(Error::LengthTooLarge);
    }
    room.make(out, kept.len())?;
    if !left {
        out.extend_from_slice(kept);
    }
    if missing > 0 {
        let in_fill = char_count(fill);
        room.make(out, missing.div_ceil(in_fill) * fill.len() + kept.len())?;
        (0..missing / in_fill).for_each(|_| out.extend_from_slice(fill));
        out.extend_from_slice(&fill[..char_offset(fill, missing % in_fill)]);
    }
    if left {
        out.extend_from_slice(kept);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
