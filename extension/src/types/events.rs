// SPDX-License-Identifier: Apache-2.0
//! `retention`, `window_funnel`, `sequence_match` and `sequence_count`.
use super::shells::{array_of, fail, fail_argument, sql_functions, Args, Raw};
use super::state::{combine, deserial, existing, serial, transition, State};
use doris_engine::sketch::funnel::{longest, Event, Mode};
use doris_engine::sketch::sequence::{Pattern, TooManySteps};
use doris_engine::sketch::{put_bytes, Reader, SketchError};
use pgrx::pg_sys::{self, Datum};
use pgrx::PgSqlErrorCode;

sql_functions! {
    "doris_retention_trans" => |args: &Args| transition(args, |state: &mut Retention| state.add(args));
    "doris_retention_combine" => combine::<Retention>;
    "doris_retention_serial" => serial::<Retention>;
    "doris_retention_deserial" => deserial::<Retention>;
    "doris_retention_final" => |args: &Args| existing::<Retention>(args, 0).and_then(|state| state.answer());
    "doris_window_funnel_trans" => |args: &Args| transition(args, |state: &mut Funnel| state.add(args));
    "doris_window_funnel_combine" => combine::<Funnel>;
    "doris_window_funnel_serial" => serial::<Funnel>;
    "doris_window_funnel_deserial" => deserial::<Funnel>;
    "doris_window_funnel_final" => |args: &Args| existing::<Funnel>(args, 0).map_or(0, Funnel::answer);
    "doris_sequence_trans" => |args: &Args| transition(args, |state: &mut Sequence| state.add(args));
    "doris_sequence_combine" => combine::<Sequence>;
    "doris_sequence_serial" => serial::<Sequence>;
    "doris_sequence_deserial" => deserial::<Sequence>;
    "doris_sequence_match_final" => |args: &Args| {
        existing::<Sequence>(args, 0).and_then(|state| state.ask(Pattern::occurs)).unwrap_or(false)
    };
    "doris_sequence_count_final" => |args: &Args| {
        existing::<Sequence>(args, 0).and_then(|state| state.ask(Pattern::count)).unwrap_or(0)
    };
}

const CONDITIONS_MAX: usize = 32;
/// What fits into one datum when the events travel between processes.
const EVENTS_MAX: usize = 80_000_000;
/// Timestamps count microseconds.
const SECOND: i64 = 1_000_000;

/// The conditions of one row as bits, whether one was NULL (which counts as false), and how many there are.
struct Conditions {
    bits: u32,
    any_null: bool,
    count: u32,
}

fn conditions(args: &Args, i: usize) -> Conditions {
    let elements = if args.is_null(i) {
        Vec::new()
    } else {
        args.elements(i)
    };
    if elements.is_empty() || elements.len() > CONDITIONS_MAX {
        fail_argument(format!(
            "between 1 and {CONDITIONS_MAX} conditions are expected"
        ));
    }
    let holds = |element: &Option<Datum>| element.is_some_and(|datum| datum.value() as u8 != 0);
    let bits = elements.iter().enumerate().fold(0, |bits, (i, element)| {
        bits | u32::from(holds(element)) << i
    });
    Conditions {
        bits,
        any_null: elements.contains(&None),
        count: elements.len() as u32,
    }
}

/// Which conditions held in any row.
#[derive(Default)]
struct Retention {
    bits: u32,
    count: u32,
}

impl Retention {
    fn add(&mut self, args: &Args) {
        let conditions = conditions(args, 1);
        if !conditions.any_null {
            self.bits |= conditions.bits;
            self.count = conditions.count;
        }
    }

    /// Condition i counts only for those for whom the first one held.
    fn answer(&self) -> Option<Raw> {
        let bits = if self.bits & 1 == 1 { self.bits } else { 0 };
        let mut elements: Vec<Datum> = (0..self.count)
            .map(|i| Datum::from((bits >> i & 1) as i32))
            .collect();
        (self.count > 0).then(|| array_of(&mut elements, pg_sys::INT4OID))
    }
}

impl State for Retention {
    fn merge(&mut self, other: &Self) {
        self.bits |= other.bits;
        self.count = self.count.max(other.count);
    }

    fn write(&mut self) -> Vec<u8> {
        [self.bits.to_le_bytes(), self.count.to_le_bytes()].concat()
    }

    fn read(bytes: &[u8]) -> Result<Self, SketchError> {
        let mut reader = Reader::new(bytes);
        Ok(Retention {
            bits: reader.u32()?,
            count: reader.u32()?,
        })
    }
}

/// Events as they came; sorted when they are asked about.
#[derive(Default)]
struct Events {
    list: Vec<Event>,
    sorted: bool,
}

impl Events {
    /// Events for which nothing holds have no part in any answer.
    fn push(&mut self, at: i64, steps: u32) {
        if steps != 0 {
            if self.list.len() >= EVENTS_MAX {
                fail(
                    PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                    "too many events in one group",
                );
            }
            self.list.push(Event { at, steps });
            self.sorted = false;
        }
    }

    fn sorted(&mut self) -> &[Event] {
        if !self.sorted {
            // By time only, and stable: rows of the same time stay as they came.
            self.list.sort_by_key(|event| event.at);
            self.sorted = true;
        }
        &self.list
    }

    fn merge(&mut self, other: &Events) {
        self.list.extend_from_slice(&other.list);
        self.sorted = false;
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend((self.list.len() as u64).to_le_bytes());
        for event in &self.list {
            out.extend(event.at.to_le_bytes());
            out.extend(event.steps.to_le_bytes());
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, SketchError> {
        let list = (0..reader.count(12)?)
            .map(|_| {
                Ok(Event {
                    at: reader.i64()?,
                    steps: reader.u32()?,
                })
            })
            .collect::<Result<_, SketchError>>()?;
        Ok(Events {
            list,
            sorted: false,
        })
    }
}

#[derive(Default)]
struct Funnel {
    window: i64,
    mode: Mode,
    count: u32,
    events: Events,
}

impl Funnel {
    /// Arguments: window in seconds, mode, timestamp, conditions.
    fn add(&mut self, args: &Args) {
        if args.is_null(1) || args.is_null(2) || args.is_null(3) {
            return;
        }
        let conditions = conditions(args, 4);
        if self.count == 0 {
            let name = args.bytes(2);
            self.mode = Mode::parse(name).unwrap_or_else(|| {
                fail_argument(format!(
                    "unknown window_funnel mode \"{}\"",
                    String::from_utf8_lossy(name)
                ))
            });
            self.window = args.i64(1).saturating_mul(SECOND);
            self.count = conditions.count;
            if self.window < 0 {
                fail_argument("the window of window_funnel must not be negative");
            }
        }
        self.events.push(args.i64(3), conditions.bits);
    }

    fn answer(&mut self) -> i32 {
        longest(self.events.sorted(), self.count, self.window, self.mode) as i32
    }
}

impl State for Funnel {
    fn merge(&mut self, other: &Self) {
        if self.count == 0 {
            (self.window, self.mode, self.count) = (other.window, other.mode, other.count);
        }
        self.events.merge(&other.events);
    }

    fn write(&mut self) -> Vec<u8> {
        let mut out = self.window.to_le_bytes().to_vec();
        out.push(self.mode.code());
        out.extend(self.count.to_le_bytes());
        self.events.write(&mut out);
        out
    }

    fn read(bytes: &[u8]) -> Result<Self, SketchError> {
        let mut reader = Reader::new(bytes);
        Ok(Funnel {
            window: reader.i64()?,
            mode: Mode::from_code(reader.u8()?)?,
            count: reader.u32()?,
            events: Events::read(&mut reader)?,
        })
    }
}

#[derive(Default)]
struct Sequence {
    /// As the first row has it.
    pattern: Vec<u8>,
    count: u32,
    events: Events,
}

impl Sequence {
    /// Arguments: pattern, timestamp, conditions.
    fn add(&mut self, args: &Args) {
        if args.is_null(1) || args.is_null(2) {
            return;
        }
        let conditions = conditions(args, 3);
        if self.count == 0 {
            self.count = conditions.count;
            self.pattern = args.bytes(1).to_vec();
            self.parsed();
        }
        self.events.push(args.i64(2), conditions.bits);
    }

    fn parsed(&self) -> Pattern {
        Pattern::parse(&self.pattern, self.count).unwrap_or_else(|error| fail_argument(error))
    }

    fn ask<T>(
        &mut self,
        question: fn(&Pattern, &[Event], i64) -> Result<T, TooManySteps>,
    ) -> Option<T> {
        if self.count == 0 {
            return None;
        }
        let pattern = self.parsed();
        let answer = question(&pattern, self.events.sorted(), SECOND);
        Some(answer.unwrap_or_else(|error| {
            fail(
                PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                error.to_string(),
            )
        }))
    }
}

impl State for Sequence {
    fn merge(&mut self, other: &Self) {
        if self.count == 0 {
            self.count = other.count;
            self.pattern = other.pattern.clone();
        }
        self.events.merge(&other.events);
    }

    fn write(&mut self) -> Vec<u8> {
        let mut out = self.count.to_le_bytes().to_vec();
        put_bytes(&mut out, &self.pattern);
        self.events.write(&mut out);
        out
    }

    fn read(bytes: &[u8]) -> Result<Self, SketchError> {
        let mut reader = Reader::new(bytes);
        let count = reader.u32()?;
        Ok(Sequence {
            count,
            pattern: reader.bytes()?.to_vec(),
            events: Events::read(&mut reader)?,
        })
    }
}
