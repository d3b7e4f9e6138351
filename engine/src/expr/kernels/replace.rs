// SPDX-License-Identifier: Apache-2.0
//! `regexp_replace` for the patterns whose match is the same by any rule.
//!
//! A pattern here is `^`, a sequence of characters, sets in brackets and dots, each perhaps with `?`, `*` or `+`,
//! groups without alternatives, and `$`. What follows a repeated set must begin with a character outside of it, so that
//! there is one way to match; a single `?` may be left where both ways are possible, of which taking is the longer and
//! PostgreSQL's. Everything else is PostgreSQL's own to match.

use doris_storage::vector::{BytesColumn, Values, Vector};

use crate::error::{Error, Result};
use crate::expr::kernels::text::push;
use crate::expr::operand::{strict_validity, Operand};

/// A set of characters.
#[derive(Clone, Debug, PartialEq)]
struct Set {
    ascii: [bool; 128],
    /// Whether all characters beyond ASCII are members; otherwise none is.
    beyond: bool,
}

impl Set {
    fn none() -> Self {
        Self {
            ascii: [false; 128],
            beyond: false,
        }
    }

    fn all() -> Self {
        Self {
            ascii: [true; 128],
            beyond: true,
        }
    }

    fn of(byte: u8) -> Self {
        let mut set = Self::none();
        set.ascii[usize::from(byte)] = true;
        set
    }

    fn is_disjoint(&self, other: &Set) -> bool {
        let both = self.ascii.iter().zip(&other.ascii).any(|(a, b)| *a && *b);
        !(both || self.beyond && other.beyond)
    }

    fn add(&mut self, other: &Set) {
        self.ascii
            .iter_mut()
            .zip(&other.ascii)
            .for_each(|(a, b)| *a |= b);
        self.beyond |= other.beyond;
    }

    /// Bytes of the character at the front of `text`, if it is a member.
    #[inline]
    fn front(&self, text: &[u8]) -> Option<usize> {
        let &first = text.first()?;
        if first < 128 {
            return self.ascii[usize::from(first)].then_some(1);
        }
        let bytes = match first {
            0xF0.. => 4,
            0xE0.. => 3,
            _ => 2,
        };
        self.beyond.then_some(bytes.min(text.len()))
    }
}

/// A step of the pattern.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// One character.
    One(Set),
    /// As many as there are.
    Run { set: Set, least: usize },
    /// A word, or nothing. The second field: whether both may lead to a match.
    Maybe(Vec<Set>, bool),
    /// A group's text begins.
    Open(usize),
    /// A group's text ends.
    Close(usize),
}

/// A part of the replacement.
#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(Vec<u8>),
    /// What a group matched; 0: the whole match.
    Group(usize),
}

/// A pattern and its replacement.
#[derive(Clone, Debug, PartialEq)]
pub struct RegexpRule {
    steps: Vec<Step>,
    groups: usize,
    replacement: Vec<Part>,
    source: String,
}

/// Groups of a pattern.
const GROUPS_MAX: usize = 9;

impl RegexpRule {
    /// The rule; [`Error::NotNative`] where PostgreSQL must match.
    pub fn new(pattern: &[u8], replacement: &[u8]) -> Result<Self> {
        let refuse = || Error::not_native("a regular expression of more than one way to match");
        let mut parser = Parser {
            rest: pattern.strip_prefix(b"^").ok_or_else(refuse)?,
            steps: Vec::new(),
            groups: 0,
        };
        parser.sequence().ok_or_else(refuse)?;
        let (mut steps, groups) = (parser.steps, parser.groups);
        check_ways(&mut steps).ok_or_else(refuse)?;
        Ok(Self {
            steps,
            groups,
            replacement: parts(replacement, groups).ok_or_else(refuse)?,
            source: String::from_utf8_lossy(pattern).into_owned(),
        })
    }

    /// The pattern.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Appends the text with the match replaced.
    fn replace(&self, text: &[u8], out: &mut Vec<u8>) {
        let mut spans = [(0, 0); GROUPS_MAX + 1];
        if !walk(&self.steps, text, 0, &mut spans) {
            return out.extend_from_slice(text);
        }
        spans[0] = (0, text.len());
        for part in &self.replacement {
            match part {
                Part::Text(bytes) => out.extend_from_slice(bytes),
                Part::Group(group) => {
                    out.extend_from_slice(&text[spans[*group].0..spans[*group].1])
                }
            }
        }
    }
}

/// Whether `steps` match all of `text` from `at` on.
fn walk(steps: &[Step], text: &[u8], mut at: usize, spans: &mut [(usize, usize)]) -> bool {
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::One(set) => match set.front(&text[at..]) {
                Some(bytes) => at += bytes,
                None => return false,
            },
            Step::Run { set, least } => {
                let mut found = 0;
                while let Some(bytes) = set.front(&text[at..]) {
                    at += bytes;
                    found += 1;
                }
                if found < *least {
                    return false;
                }
            }
            Step::Maybe(word, both) => {
                if let Some(end) = word_end(word, text, at) {
                    if !both || walk(&steps[number + 1..], text, end, spans) {
                        if *both {
                            return true;
                        }
                        at = end;
                    }
                }
            }
            Step::Open(group) => spans[*group].0 = at,
            Step::Close(group) => spans[*group].1 = at,
        }
    }
    at == text.len()
}

fn word_end(word: &[Set], text: &[u8], mut at: usize) -> Option<usize> {
    for set in word {
        at += set.front(&text[at..])?;
    }
    Some(at)
}

/// Marks the one step that leaves two ways; `None` when there are more, or a run does.
fn check_ways(steps: &mut [Step]) -> Option<()> {
    let mut open = false;
    for number in 0..steps.len() {
        let next = first_of(&steps[number + 1..]);
        match &mut steps[number] {
            Step::Run { set, .. } if !set.is_disjoint(&next) => return None,
            Step::Maybe(word, both) if !word[0].is_disjoint(&next) => {
                if open {
                    return None;
                }
                (open, *both) = (true, true);
            }
            _ => {}
        }
    }
    Some(())
}

/// The characters that steps may begin with. At the end of all, that is none: the text ends.
fn first_of(steps: &[Step]) -> Set {
    let mut first = Set::none();
    for step in steps {
        match step {
            Step::One(set) => {
                first.add(set);
                return first;
            }
            Step::Run { set, least } => {
                first.add(set);
                if *least > 0 {
                    return first;
                }
            }
            Step::Maybe(word, _) => first.add(&word[0]),
            Step::Open(_) | Step::Close(_) => {}
        }
    }
    first
}

/// Reads a pattern behind its `^`.
struct Parser<'p> {
    rest: &'p [u8],
    steps: Vec<Step>,
    groups: usize,
}

impl Parser<'_> {
    /// Everything up to the `$` at the end.
    fn sequence(&mut self) -> Option<()> {
        let mut group = None;
        loop {
            match (self.rest, group) {
                ([b'$'], None) => return Some(()),
                ([b'(', b'?', b':', rest @ ..], _) => {
                    self.rest = rest;
                    self.word()?;
                }
                ([b'(', rest @ ..], None) if rest.first() != Some(&b'?') => {
                    self.groups += 1;
                    if self.groups > GROUPS_MAX {
                        return None;
                    }
                    group = Some(self.groups);
                    self.steps.push(Step::Open(self.groups));
                    self.rest = rest;
                }
                ([b')', rest @ ..], Some(number)) => {
                    if matches!(self.steps.last(), Some(Step::Open(_))) || quantifier(rest) {
                        return None;
                    }
                    self.steps.push(Step::Close(number));
                    (group, self.rest) = (None, rest);
                }
                _ => {
                    let set = self.set()?;
                    let step = match self.rest.first() {
                        Some(b'*') => Step::Run { set, least: 0 },
                        Some(b'+') => Step::Run { set, least: 1 },
                        Some(b'?') => Step::Maybe(vec![set], false),
                        _ => Step::One(set),
                    };
                    if !matches!(step, Step::One(_)) {
                        self.rest = &self.rest[1..];
                        if quantifier(self.rest) {
                            return None;
                        }
                    }
                    self.steps.push(step);
                }
            }
        }
    }

    /// The inside of a group without a number, up to `)?`.
    fn word(&mut self) -> Option<()> {
        let mut word = Vec::new();
        while self.rest.first() != Some(&b')') {
            word.push(self.set()?);
            if quantifier(self.rest) {
                return None;
            }
        }
        self.rest = self.rest.strip_prefix(b")?")?;
        if word.is_empty() || quantifier(self.rest) {
            return None;
        }
        self.steps.push(Step::Maybe(word, false));
        Some(())
    }

    /// One character, dot or set.
    fn set(&mut self) -> Option<Set> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        match first {
            b'.' => Some(Set::all()),
            b'[' => self.brackets(),
            b'\\' => {
                let (&escaped, rest) = rest.split_first()?;
                self.rest = rest;
                // Letters and digits behind a backslash mean something; other characters mean themselves.
                escaped.is_ascii_punctuation().then(|| Set::of(escaped))
            }
            b'^' | b'$' | b'(' | b')' | b'*' | b'+' | b'?' | b'{' | b'}' | b'|' => None,
            plain if plain.is_ascii_graphic() => Some(Set::of(plain)),
            _ => None,
        }
    }

    /// A set in brackets, behind the opening one: letters, digits, ranges of them, and some other characters.
    fn brackets(&mut self) -> Option<Set> {
        let negated = self.rest.first() == Some(&b'^');
        if negated {
            self.rest = &self.rest[1..];
        }
        let mut set = Set::none();
        loop {
            match self.rest {
                [b']', rest @ ..] if set != Set::none() => {
                    self.rest = rest;
                    break;
                }
                [low, b'-', high, rest @ ..] if is_range(*low, *high) => {
                    (*low..=*high).for_each(|byte| set.ascii[usize::from(byte)] = true);
                    self.rest = rest;
                }
                [b'[' | b']' | b'\\' | b'-' | b'^', ..] => return None,
                [plain, rest @ ..] if plain.is_ascii_graphic() => {
                    set.ascii[usize::from(*plain)] = true;
                    self.rest = rest;
                }
                _ => return None,
            }
        }
        if negated {
            set.ascii.iter_mut().for_each(|member| *member = !*member);
            set.beyond = true;
        }
        Some(set)
    }
}

fn is_range(low: u8, high: u8) -> bool {
    let both = |test: fn(&u8) -> bool| test(&low) && test(&high);
    low <= high
        && (both(u8::is_ascii_digit)
            || both(u8::is_ascii_lowercase)
            || both(u8::is_ascii_uppercase))
}

fn quantifier(rest: &[u8]) -> bool {
    matches!(rest.first(), Some(b'?' | b'*' | b'+' | b'{'))
}

/// The parts of a replacement: `\1` to `\9`, `\&` and `\\` are not text.
fn parts(replacement: &[u8], groups: usize) -> Option<Vec<Part>> {
    let mut out = Vec::new();
    let mut text = Vec::new();
    let mut bytes = replacement.iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'\\' {
            text.push(byte);
            continue;
        }
        match bytes.next()? {
            b'\\' => text.push(b'\\'),
            b'&' => out.extend([Part::Text(std::mem::take(&mut text)), Part::Group(0)]),
            digit @ b'1'..=b'9' => {
                let group = usize::from(digit - b'0');
                if group > groups {
                    return None;
                }
                out.extend([Part::Text(std::mem::take(&mut text)), Part::Group(group)]);
            }
            _ => return None,
        }
    }
    out.push(Part::Text(text));
    Some(out)
}

/// The rule applied to every row.
pub(in crate::expr) fn regexp_replace(
    rule: &RegexpRule,
    operand: &Operand,
    rows: usize,
) -> Result<Vector> {
    let mut out = BytesColumn::default();
    let mut text = Vec::new();
    for row in 0..rows {
        text.clear();
        if !operand.is_null(row) {
            rule.replace(operand.bytes(row), &mut text);
        }
        push(&mut out, &text)?;
    }
    Ok(Vector {
        values: Values::Bytes(out),
        validity: strict_validity(std::slice::from_ref(operand), rows),
    })
}

#[cfg(test)]
mod tests;
