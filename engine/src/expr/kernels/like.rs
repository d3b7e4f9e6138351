// SPDX-License-Identifier: Apache-2.0
//! LIKE and ILIKE.
//!
//! A pattern is compiled to the cheapest matcher that answers it: patterns without `_` are a prefix, literals in
//! order and a suffix, each found by `memmem`; the rest is matched token by token with one point to return to. Over
//! a plain text column the first literal is searched in the whole buffer at once and the hits are mapped to rows,
//! so that a pattern that rarely matches costs one pass at memory speed.

use doris_storage::vector::{BytesColumn, Values, Vector};
use memchr::memmem::{Finder, FinderBuilder};

use super::text::first_char;
use crate::error::{Error, Result};
use crate::expr::operand::{strict_validity, Operand};

/// A compiled pattern.
#[derive(Clone, Debug)]
pub struct LikePattern {
    source: Box<[u8]>,
    fold_case: bool,
    matcher: Matcher,
}

#[derive(Clone, Debug)]
enum Matcher {
    /// No wildcard.
    Exact(Vec<u8>),
    /// `prefix%middle%...%suffix`.
    Literals {
        prefix: Vec<u8>,
        middle: Vec<Finder<'static>>,
        suffix: Vec<u8>,
    },
    /// Anything with `_`; `required`: the longest literal in it, without which nothing matches.
    Tokens {
        tokens: Vec<Token>,
        required: Option<Box<Finder<'static>>>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    AnyChar,
    AnyString,
}

impl LikePattern {
    /// Compiles a pattern whose escape is the backslash. One that ends in it is left to PostgreSQL, which complains
    /// only of values that match up to there.
    pub fn new(pattern: &[u8], fold_case: bool) -> Result<Self> {
        let mut tokens = Vec::with_capacity(pattern.len());
        let mut rest = pattern.iter().copied();
        while let Some(byte) = rest.next() {
            tokens.push(match byte {
                b'%' if tokens.last() == Some(&Token::AnyString) => continue,
                b'%' => Token::AnyString,
                b'_' => Token::AnyChar,
                b'\\' => match rest.next() {
                    Some(escaped) => literal(escaped, fold_case),
                    None => {
                        return Err(Error::not_native(
                            "a LIKE pattern that ends in its escape character",
                        ))
                    }
                },
                _ => literal(byte, fold_case),
            });
        }
        let matcher = Matcher::new(tokens);
        Ok(Self {
            source: pattern.into(),
            fold_case,
            matcher,
        })
    }

    /// The pattern as it was written.
    pub fn source(&self) -> &[u8] {
        &self.source
    }

    /// Whether it is ILIKE's.
    pub fn folds_case(&self) -> bool {
        self.fold_case
    }

    /// The bytes every match starts with: for zone maps and prefix predicates.
    pub fn prefix(&self) -> &[u8] {
        match &self.matcher {
            _ if self.fold_case => &[],
            Matcher::Exact(bytes) | Matcher::Literals { prefix: bytes, .. } => bytes,
            Matcher::Tokens { .. } => &[],
        }
    }

    /// Whether all that start with [`prefix`](Self::prefix) match.
    pub fn is_prefix(&self) -> bool {
        let rest = match &self.matcher {
            Matcher::Literals { middle, suffix, .. } => middle.is_empty() && suffix.is_empty(),
            Matcher::Exact(_) | Matcher::Tokens { .. } => false,
        };
        rest && !self.fold_case
    }

    /// The one text that matches, where there is but one.
    pub fn literal(&self) -> Option<&[u8]> {
        match &self.matcher {
            Matcher::Exact(bytes) if !self.fold_case => Some(bytes),
            _ => None,
        }
    }

    /// Whether `value` matches; `scratch` is for the folded value.
    #[inline]
    pub(in crate::expr) fn matches(&self, value: &[u8], scratch: &mut Vec<u8>) -> bool {
        if !self.fold_case {
            return self.matcher.matches(value);
        }
        scratch.clear();
        scratch.extend(value.iter().map(u8::to_ascii_lowercase));
        self.matcher.matches(scratch)
    }

    /// Matches every value of a column, by searching the buffer as a whole where that answers.
    fn matches_all(&self, column: &BytesColumn) -> Vec<u8> {
        let mut bits = vec![0u8; column.len()];
        match &self.matcher {
            _ if self.fold_case => {
                let mut scratch = Vec::new();
                for (bit, value) in bits.iter_mut().zip(column.iter()) {
                    *bit = u8::from(self.matches(value, &mut scratch));
                }
            }
            Matcher::Literals {
                prefix,
                middle,
                suffix,
            } if prefix.is_empty() && !middle.is_empty() => {
                each_row_with(middle, suffix, column, |row| bits[row] = 1);
            }
            Matcher::Tokens {
                tokens,
                required: Some(required),
            } => {
                each_row_with(std::slice::from_ref(&**required), &[], column, |row| {
                    bits[row] = u8::from(matches_tokens(tokens, column.get(row)));
                });
            }
            Matcher::Literals {
                prefix,
                middle,
                suffix,
            } if middle.is_empty() && suffix.is_empty() => {
                bits.iter_mut()
                    .zip(column.iter())
                    .for_each(|(bit, v)| *bit = u8::from(v.starts_with(prefix)));
            }
            matcher => {
                bits.iter_mut()
                    .zip(column.iter())
                    .for_each(|(bit, v)| *bit = u8::from(matcher.matches(v)));
            }
        }
        bits
    }
}

fn literal(byte: u8, fold_case: bool) -> Token {
    Token::Byte(if fold_case {
        byte.to_ascii_lowercase()
    } else {
        byte
    })
}

/// Calls `found` for every row whose value contains the needles in order, then ends in `suffix`.
///
/// Every needle is searched in the whole buffer, from a cursor that only moves forward: no search starts over for a
/// row, and a needle's next hit serves all rows before it.
fn each_row_with(
    needles: &[Finder],
    suffix: &[u8],
    column: &BytesColumn,
    mut found: impl FnMut(usize),
) {
    let data = &column.data[..column.offsets[column.len()] as usize];
    let mut hits = vec![None; needles.len()];
    let (mut row, mut from) = (0, 0);
    while let Some(start) = next_hit(&needles[0], &mut hits[0], data, from) {
        while column.offsets[row + 1] as usize <= start {
            row += 1;
        }
        let end = column.offsets[row + 1] as usize;
        let mut at = start + needles[0].needle().len();
        if at > end {
            // Across two values: not a match, but one may begin right after.
            from = start + 1;
            continue;
        }
        let mut all = true;
        for (needle, hit) in needles.iter().zip(&mut hits).skip(1) {
            match next_hit(needle, hit, data, at) {
                Some(next) if next + needle.needle().len() <= end => {
                    at = next + needle.needle().len()
                }
                _ => {
                    all = false;
                    break;
                }
            }
        }
        if all && data[at..end].ends_with(suffix) {
            found(row);
        }
        from = end;
    }
}

/// The needle's first hit not before `from`; `known` keeps it.
#[inline]
fn next_hit(needle: &Finder, known: &mut Option<usize>, data: &[u8], from: usize) -> Option<usize> {
    match *known {
        Some(hit) if hit >= from => {}
        _ => {
            *known = Some(
                needle
                    .find(&data[from..])
                    .map_or(usize::MAX, |at| from + at),
            )
        }
    }
    known.filter(|&hit| hit != usize::MAX)
}

impl Matcher {
    fn new(tokens: Vec<Token>) -> Self {
        if tokens.contains(&Token::AnyChar) {
            let required = longest_literal(&tokens).map(Box::new);
            return Matcher::Tokens { tokens, required };
        }
        let mut literals: Vec<Vec<u8>> = vec![Vec::new()];
        for token in &tokens {
            match (token, literals.last_mut()) {
                (Token::Byte(byte), Some(last)) => last.push(*byte),
                _ => literals.push(Vec::new()),
            }
        }
        let suffix = if literals.len() > 1 {
            literals.pop()
        } else {
            None
        };
        let prefix = literals.remove(0);
        let Some(suffix) = suffix else {
            return Matcher::Exact(prefix);
        };
        let finder = |needle: Vec<u8>| FinderBuilder::new().build_forward(&needle).into_owned();
        Matcher::Literals {
            prefix,
            middle: literals.into_iter().map(finder).collect(),
            suffix,
        }
    }

    #[inline]
    fn matches(&self, value: &[u8]) -> bool {
        match self {
            Matcher::Exact(bytes) => value == &bytes[..],
            Matcher::Literals {
                prefix,
                middle,
                suffix,
            } => {
                let Some(rest) = value.strip_prefix(&prefix[..]) else {
                    return false;
                };
                let Some(mut rest) = rest.strip_suffix(&suffix[..]) else {
                    return false;
                };
                for needle in middle {
                    match needle.find(rest) {
                        Some(at) => rest = &rest[at + needle.needle().len()..],
                        None => return false,
                    }
                }
                true
            }
            Matcher::Tokens { tokens, .. } => matches_tokens(tokens, value),
        }
    }
}

/// A finder of the longest run of literal bytes, if it is long enough to be worth a search.
fn longest_literal(tokens: &[Token]) -> Option<Finder<'static>> {
    let runs = tokens.split(|token| !matches!(token, Token::Byte(_)));
    let longest = runs
        .max_by_key(|run| run.len())
        .filter(|run| run.len() > 1)?;
    let bytes: Vec<u8> = longest
        .iter()
        .map(|t| if let Token::Byte(byte) = t { *byte } else { 0 })
        .collect();
    Some(FinderBuilder::new().build_forward(&bytes).into_owned())
}

/// Matches token by token; after a mismatch the last `%` takes one more character. (An earlier one need never:
/// what the later matches from further right, it matches from further left too.)
fn matches_tokens(tokens: &[Token], value: &[u8]) -> bool {
    let (mut token, mut at) = (0, 0);
    let mut resume: Option<(usize, usize)> = None;
    while at < value.len() {
        match tokens.get(token) {
            Some(Token::Byte(byte)) if *byte == value[at] => {
                token += 1;
                at += 1;
            }
            Some(Token::AnyChar) => {
                token += 1;
                at += first_char(&value[at..]);
            }
            Some(Token::AnyString) => {
                token += 1;
                if token == tokens.len() {
                    return true;
                }
                resume = Some((token, at));
            }
            _ => {
                let Some((after, from)) = resume else {
                    return false;
                };
                at = from + first_char(&value[from..]);
                token = after;
                resume = Some((after, at));
            }
        }
    }
    tokens[token..]
        .iter()
        .all(|token| *token == Token::AnyString)
}

/// `operand [NOT] LIKE pattern`.
pub(in crate::expr) fn like(
    pattern: &LikePattern,
    operand: &Operand,
    negated: bool,
    rows: usize,
) -> Result<Vector> {
    let mut bits = match operand {
        Operand::Vector(vector) if matches!(&vector.values, Values::Bytes(column) if column.len() == rows) => {
            match &vector.values {
                Values::Bytes(column) => pattern.matches_all(column),
                _ => Vec::new(),
            }
        }
        _ => {
            let mut scratch = Vec::new();
            (0..rows)
                .map(|i| u8::from(pattern.matches(operand.bytes(i), &mut scratch)))
                .collect()
        }
    };
    if negated {
        bits.iter_mut().for_each(|bit| *bit ^= 1);
    }
    Ok(Vector {
        values: Values::Bool(bits),
        validity: strict_validity(std::slice::from_ref(operand), rows),
    })
}

/// `operand [NOT] LIKE pattern` with a pattern per row; compiled again only when it changes.
pub(in crate::expr) fn like_expr(
    operand: &Operand,
    pattern: &Operand,
    fold_case: bool,
    negated: bool,
    rows: usize,
) -> Result<Vector> {
    if let Operand::Scalar(_) = pattern {
        return like(
            &LikePattern::new(pattern.bytes(0), fold_case)?,
            operand,
            negated,
            rows,
        );
    }
    let operands = [operand.clone(), pattern.clone()];
    let validity = strict_validity(&operands, rows);
    let mut scratch = Vec::new();
    let mut compiled: Option<LikePattern> = None;
    let mut bits = Vec::with_capacity(rows);
    for row in 0..rows {
        if validity.as_ref().is_some_and(|valid| !valid.get(row)) {
            bits.push(0);
            continue;
        }
        let source = pattern.bytes(row);
        if compiled
            .as_ref()
            .is_none_or(|known| known.source() != source)
        {
            compiled = Some(LikePattern::new(source, fold_case)?);
        }
        let matched = compiled
            .as_ref()
            .is_some_and(|known| known.matches(operand.bytes(row), &mut scratch));
        bits.push(u8::from(matched != negated));
    }
    Ok(Vector {
        values: Values::Bool(bits),
        validity,
    })
}

#[cfg(test)]
mod tests;
