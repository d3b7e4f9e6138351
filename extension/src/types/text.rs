// SPDX-License-Identifier: Apache-2.0
//! `group_concat` and `topn`.
use super::shells::{fail, fail_argument, sql_functions, Args, TEXT_MAX};
use super::state::{combine, deserial, existing, serial, transition, State};
use doris_engine::sketch::{put_bytes, Reader, SketchError, TopN};
use pgrx::PgSqlErrorCode;

sql_functions! {
    "doris_group_concat_trans" => |args: &Args| transition(args, |state: &mut Concat| state.add(args));
    "doris_group_concat_combine" => combine::<Concat>;
    "doris_group_concat_serial" => serial::<Concat>;
    "doris_group_concat_deserial" => deserial::<Concat>;
    "doris_group_concat_final" => joined;
    "doris_topn_trans" => |args: &Args| transition(args, |state: &mut TopN| count(state, args));
    "doris_topn_combine" => combine::<TopN>;
    "doris_topn_serial" => serial::<TopN>;
    "doris_topn_deserial" => deserial::<TopN>;
    "doris_topn_final" => |args: &Args| existing::<TopN>(args, 0).filter(|state| state.is_set()).map(|state| json(state));
}

const COUNTERS_MAX: i64 = 10_000_000;
const SPACE_DEFAULT: i32 = 50;

/// Strings joined by the separators of their rows, the first row's left out.
#[derive(Default)]
struct Concat {
    /// Every string with its separator before it.
    text: Vec<u8>,
    /// How much of `text` the first separator is.
    lead: usize,
    rows: u64,
    /// A row had a NULL separator: the result is NULL.
    spoilt: bool,
}

impl Concat {
    fn add(&mut self, args: &Args) {
        if args.is_null(1) {
            return;
        }
        let separator: &[u8] = match args.len() {
            2 => b", ",
            _ if args.is_null(2) => {
                self.spoilt = true;
                return;
            }
            _ => args.bytes(2),
        };
        self.append(separator.len(), &[separator, args.bytes(1)], 1);
    }

    fn append(&mut self, lead: usize, parts: &[&[u8]], rows: u64) {
        let len = self.text.len() + parts.iter().map(|part| part.len()).sum::<usize>();
        if len > TEXT_MAX {
            fail(
                PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                "the result of group_concat is too long",
            );
        }
        if self.rows == 0 {
            self.lead = lead;
        }
        parts
            .iter()
            .for_each(|part| self.text.extend_from_slice(part));
        self.rows += rows;
    }

    fn answer(&self) -> Option<&[u8]> {
        (self.rows > 0 && !self.spoilt).then(|| &self.text[self.lead..])
    }
}

fn joined(args: &Args) -> Option<&[u8]> {
    existing::<Concat>(args, 0).and_then(|state| state.answer())
}

impl State for Concat {
    fn merge(&mut self, other: &Self) {
        self.spoilt |= other.spoilt;
        if other.rows > 0 {
            self.append(other.lead, &[&other.text], other.rows);
        }
    }

    fn write(&mut self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.text.len() + 32);
        out.extend((self.lead as u64).to_le_bytes());
        out.extend(self.rows.to_le_bytes());
        out.push(u8::from(self.spoilt));
        put_bytes(&mut out, &self.text);
        out
    }

    fn read(bytes: &[u8]) -> Result<Self, SketchError> {
        let mut reader = Reader::new(bytes);
        let (lead, rows, spoilt) = (reader.u64()? as usize, reader.u64()?, reader.u8()? != 0);
        let text = reader.bytes()?.to_vec();
        if lead > text.len() {
            return Err(SketchError::Corrupt(
                "the first separator is longer than the text",
            ));
        }
        Ok(Concat {
            text,
            lead,
            rows,
            spoilt,
        })
    }
}

impl State for TopN {
    fn merge(&mut self, other: &Self) {
        TopN::merge(self, other);
    }

    fn write(&mut self) -> Vec<u8> {
        self.encode()
    }

    fn read(bytes: &[u8]) -> Result<Self, SketchError> {
        TopN::decode(bytes)
    }
}

/// Arguments: value, how many to return, and how many times as many counters to keep.
fn count(state: &mut TopN, args: &Args) {
    if args.is_null(1) || args.is_null(2) {
        return;
    }
    if !state.is_set() {
        let wanted = args.i32(2);
        let space = if args.len() > 3 && !args.is_null(3) {
            args.i32(3)
        } else {
            SPACE_DEFAULT
        };
        if wanted < 1 || space < 1 || i64::from(wanted) * i64::from(space) > COUNTERS_MAX {
            fail_argument("topn keeps between 1 and 10 million counters");
        }
        *state = TopN::new(wanted as u32, space as u32);
    }
    state.add(&args.text_of(1), 1);
}

fn json(state: &TopN) -> String {
    let member = |(value, count): (&[u8], u64)| {
        format!(
            "{}:{count}",
            serde_json::Value::from(String::from_utf8_lossy(value))
        )
    };
    let members: Vec<String> = state.top().into_iter().map(member).collect();
    format!("{{{}}}", members.join(","))
}
