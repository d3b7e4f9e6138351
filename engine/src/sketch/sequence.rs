// SPDX-License-Identifier: Apache-2.0
//! Patterns over events in time: `(?1)(?t<=3600).*(?2)`.
//!
//! `(?N)` is an event for which condition N holds, `.` any one event, `.*` any number of them, `(?t OP seconds)` a
//! bound on the time between the events around it. Events for which none of the conditions in the pattern holds are
//! left out first, so that they neither match a dot nor break adjacency.
use super::funnel::Event;

/// An element of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Condition(u32),
    Any,
    AnyRun,
    Time(Compare, i64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compare {
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Equal,
    NotEqual,
}

/// A pattern that was read and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    tokens: Vec<Token>,
    conditions: u32,
}

/// The steps that a match may take before it is given up.
const STEPS_MAX: u64 = 50_000_000;

/// Matching would take too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the pattern needs too many steps on these events")]
pub struct TooManySteps;

impl Pattern {
    /// Reads a pattern over `condition_count` conditions. The error says what is wrong with it.
    pub fn parse(text: &[u8], condition_count: u32) -> Result<Pattern, String> {
        let mut tokens = Vec::new();
        let mut conditions = 0;
        let mut rest = text;
        while let Some(first) = rest.first() {
            let (token, len) = match first {
                b' ' => {
                    rest = &rest[1..];
                    continue;
                }
                b'.' if rest.get(1) == Some(&b'*') => (Token::AnyRun, 2),
                b'.' => (Token::Any, 1),
                _ => group(rest)?,
            };
            if let Token::Condition(number) = token {
                if number == 0 || number > condition_count {
                    return Err(format!("event number {number} is out of range"));
                }
                conditions |= 1 << (number - 1);
            }
            tokens.push(token);
            rest = &rest[len..];
        }
        Ok(Pattern { tokens, conditions })
    }

    /// Whether the pattern occurs in events sorted by time, their times in `second`ths.
    pub fn occurs(&self, events: &[Event], second: i64) -> Result<bool, TooManySteps> {
        let events = self.relevant(events);
        let mut search = Search {
            pattern: self,
            events: &events,
            second,
            steps: 0,
        };
        for start in 0..=events.len() {
            if search.matches(start)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How often it occurs, occurrences not overlapping.
    pub fn count(&self, events: &[Event], second: i64) -> Result<u64, TooManySteps> {
        let events = self.relevant(events);
        let mut search = Search {
            pattern: self,
            events: &events,
            second,
            steps: 0,
        };
        let (mut count, mut start) = (0, 0);
        while start < events.len() {
            match search.matches(start)? {
                Some(end) => {
                    count += 1;
                    start = end.max(start + 1);
                }
                None => start += 1,
            }
        }
        Ok(count)
    }

    fn relevant(&self, events: &[Event]) -> Vec<Event> {
        events
            .iter()
            .copied()
            .filter(|event| event.steps & self.conditions != 0)
            .collect()
    }
}

/// `(?N)` or `(?t OP seconds)` at the start of `text`, and its length.
fn group(text: &[u8]) -> Result<(Token, usize), String> {
    let malformed = || format!("malformed pattern at \"{}\"", String::from_utf8_lossy(text));
    let close = text
        .iter()
        .position(|byte| *byte == b')')
        .ok_or_else(malformed)?;
    let inner = text[..close].strip_prefix(b"(?").ok_or_else(malformed)?;
    let inner = std::str::from_utf8(inner).map_err(|_| malformed())?.trim();
    let token = match inner.strip_prefix('t') {
        None => Token::Condition(inner.parse().map_err(|_| malformed())?),
        Some(bound) => {
            let bound = bound.trim_start();
            let (name, compare) = COMPARES
                .iter()
                .find(|(name, _)| bound.starts_with(name))
                .ok_or_else(malformed)?;
            Token::Time(
                *compare,
                bound[name.len()..]
                    .trim()
                    .parse()
                    .map_err(|_| malformed())?,
            )
        }
    };
    Ok((token, close + 1))
}

/// Longer names first: `<=` also starts with `<`.
const COMPARES: [(&str, Compare); 7] = [
    ("<=", Compare::LessEqual),
    (">=", Compare::GreaterEqual),
    ("==", Compare::Equal),
    ("!=", Compare::NotEqual),
    ("<", Compare::Less),
    (">", Compare::Greater),
    ("=", Compare::Equal),
];

struct Search<'a> {
    pattern: &'a Pattern,
    events: &'a [Event],
    second: i64,
    steps: u64,
}

impl Search<'_> {
    /// Where a match that starts at event `start` ends. Backtracks over `.*`, shortest first, with a list of its own
    /// instead of recursion.
    fn matches(&mut self, start: usize) -> Result<Option<usize>, TooManySteps> {
        let mut retries: Vec<(usize, usize)> = Vec::new();
        let (mut token, mut event) = (0, start);
        loop {
            self.steps += 1;
            if self.steps > STEPS_MAX {
                return Err(TooManySteps);
            }
            let Some(current) = self.pattern.tokens.get(token) else {
                return Ok(Some(event));
            };
            let advanced = match *current {
                Token::Condition(number) => self.holds(event, number).then_some(event + 1),
                Token::Any => (event < self.events.len()).then_some(event + 1),
                Token::AnyRun => {
                    if event < self.events.len() {
                        retries.push((token, event + 1));
                    }
                    Some(event)
                }
                Token::Time(compare, seconds) => {
                    self.in_time(event, compare, seconds).then_some(event)
                }
            };
            (token, event) = match (advanced, retries.pop_if(|_| advanced.is_none())) {
                (Some(event), _) => (token + 1, event),
                (None, Some(retry)) => retry,
                (None, None) => return Ok(None),
            };
        }
    }

    fn holds(&self, event: usize, number: u32) -> bool {
        self.events
            .get(event)
            .is_some_and(|event| event.steps >> (number - 1) & 1 == 1)
    }

    /// Compares the time between the event before this position and the one at it.
    fn in_time(&self, event: usize, compare: Compare, seconds: i64) -> bool {
        let (Some(before), Some(after)) = (
            event.checked_sub(1).and_then(|i| self.events.get(i)),
            self.events.get(event),
        ) else {
            return false;
        };
        let passed = after.at.saturating_sub(before.at);
        let bound = seconds.saturating_mul(self.second);
        match compare {
            Compare::Less => passed < bound,
            Compare::LessEqual => passed <= bound,
            Compare::Greater => passed > bound,
            Compare::GreaterEqual => passed >= bound,
            Compare::Equal => passed == bound,
            Compare::NotEqual => passed != bound,
        }
    }
}
