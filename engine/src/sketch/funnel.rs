// SPDX-License-Identifier: Apache-2.0
//! Chains of events: how many of the given steps a user took, in order, within a window.
//!
//! The chain starts at an event of step one and the window is measured from there; every event of step one is tried as
//! a start, and the longest chain counts. One event is one step at most, even where it satisfies several conditions.
use super::codec::SketchError;

/// What breaks a chain besides the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Nothing.
    #[default]
    Default,
    /// A step already taken that recurs.
    Deduplication,
    /// A later step that appears before its turn.
    Fixed,
    /// The next step at the same time as the one before it.
    Increase,
}

impl Mode {
    /// A mode by its name.
    pub fn parse(name: &[u8]) -> Option<Mode> {
        match name {
            b"default" => Some(Mode::Default),
            b"deduplication" => Some(Mode::Deduplication),
            b"fixed" => Some(Mode::Fixed),
            b"increase" => Some(Mode::Increase),
            _ => None,
        }
    }

    /// The mode's number, for [`Mode::from_code`].
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The mode of a number.
    pub fn from_code(code: u8) -> Result<Mode, SketchError> {
        [
            Mode::Default,
            Mode::Deduplication,
            Mode::Fixed,
            Mode::Increase,
        ]
        .into_iter()
        .find(|mode| mode.code() == code)
        .ok_or(SketchError::Corrupt("unknown funnel mode"))
    }
}

/// What happened when: bit `i` of `steps` says that condition `i` holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event {
    /// When, in the unit of the window.
    pub at: i64,
    /// Which conditions hold.
    pub steps: u32,
}

/// The number of steps of the longest chain among events sorted by time.
pub fn longest(events: &[Event], step_count: u32, window: i64, mode: Mode) -> u32 {
    let mut best = 0;
    for (start, event) in events.iter().enumerate() {
        if event.steps & 1 == 0 || step_count == 0 {
            continue;
        }
        best = best.max(chain(&events[start..], step_count, window, mode));
        if best == step_count {
            break;
        }
    }
    best
}

fn chain(events: &[Event], step_count: u32, window: i64, mode: Mode) -> u32 {
    let end = events[0].at.saturating_add(window);
    let mut taken = 1;
    let mut last_at = events[0].at;
    for event in &events[1..] {
        if taken == step_count || event.at > end {
            break;
        }
        if event.steps >> taken & 1 == 1 {
            if mode == Mode::Increase && event.at <= last_at {
                break;
            }
            last_at = event.at;
            taken += 1;
            continue;
        }
        let before = event.steps & ((1 << taken) - 1) != 0;
        let later = u64::from(event.steps) >> (taken + 1) != 0;
        if (mode == Mode::Deduplication && before) || (mode == Mode::Fixed && later) {
            break;
        }
    }
    taken
}
