// SPDX-License-Identifier: Apache-2.0
//! `collect_list`, `collect_set` and `map_agg`.
use super::shells::{array_of, sql_functions, Args, Raw};
use super::state::{combine, deserial, existing, serial, transition, State};
use super::values::{jsonb_of, to_json, Comparer, Hasher, TypeKey, Values};
use doris_engine::sketch::{put_bytes, Reader, SketchError};
use pgrx::pg_sys::Datum;
use std::collections::HashMap;

sql_functions! {
    "doris_collect_list_trans" => |args: &Args| transition(args, |state: &mut List| state.add(args));
    "doris_collect_list_combine" => combine::<List>;
    "doris_collect_list_serial" => serial::<List>;
    "doris_collect_list_deserial" => deserial::<List>;
    "doris_collect_list_final" => |args: &Args| array(args, existing::<List>(args, 0).map(|state| &state.values));
    "doris_collect_set_trans" => |args: &Args| transition(args, |state: &mut Set| state.add(args));
    "doris_collect_set_combine" => combine::<Set>;
    "doris_collect_set_serial" => serial::<Set>;
    "doris_collect_set_deserial" => deserial::<Set>;
    "doris_collect_set_final" => |args: &Args| array(args, existing::<Set>(args, 0).map(|state| &state.values));
    "doris_map_agg_trans" => |args: &Args| transition(args, |state: &mut Map| state.add(args));
    "doris_map_agg_combine" => combine::<Map>;
    "doris_map_agg_serial" => serial::<Map>;
    "doris_map_agg_deserial" => deserial::<Map>;
    "doris_map_agg_final" => |args: &Args| jsonb_of(existing::<Map>(args, 0).map_or_else(|| b"{}".to_vec(), |state| state.json()));
}

/// The result of a collection: argument 1 of a final function is a NULL of the element type.
fn array(args: &Args, values: Option<&Values>) -> Raw {
    let mut elements: Vec<Datum> = values.map_or_else(Vec::new, |values| {
        (0..values.len()).map(|i| values.get(i)).collect()
    });
    array_of(&mut elements, args.type_of(1))
}

/// How many values the third argument allows; any number if there is none, or none above zero.
fn limit(args: &Args) -> usize {
    let limit = if args.len() > 2 && !args.is_null(2) {
        args.i32(2)
    } else {
        0
    };
    usize::try_from(limit)
        .ok()
        .filter(|limit| *limit > 0)
        .unwrap_or(usize::MAX)
}

fn key_of(args: &Args) -> TypeKey {
    TypeKey {
        oid: args.type_of(1),
        collation: args.collation(),
    }
}

#[derive(Default)]
struct List {
    values: Values,
    limit: usize,
}

impl List {
    fn add(&mut self, args: &Args) {
        let Some(value) = args.datum(1) else { return };
        if self.limit == 0 {
            self.limit = limit(args);
            self.values = Values::new(key_of(args));
        }
        if self.values.len() < self.limit {
            self.values.push(value);
        }
    }
}

impl State for List {
    fn merge(&mut self, other: &Self) {
        self.limit = self.limit.max(other.limit);
        self.values.extend(&other.values);
        while self.values.len() > self.limit {
            self.values.pop();
        }
    }

    fn write(&mut self) -> Vec<u8> {
        [
            (self.limit as u64).to_le_bytes().as_slice(),
            &self.values.write(),
        ]
        .concat()
    }

    fn read(bytes: &[u8]) -> Result<Self, SketchError> {
        let mut reader = Reader::new(bytes);
        Ok(List {
            limit: reader.u64()? as usize,
            values: Values::read(&mut reader)?,
        })
    }
}

/// Distinct values in the order of their first appearance.
#[derive(Default)]
struct Set {
    values: Values,
    limit: usize,
    /// The newest value of each hash, and for each value the one before it with the same hash.
    newest: HashMap<u64, usize>,
    before: Vec<Option<usize>>,
    functions: Option<(Hasher, Comparer)>,
}

impl Set {
    fn add(&mut self, args: &Args) {
        let Some(value) = args.datum(1) else { return };
        if self.limit == 0 {
            self.limit = limit(args);
            self.values = Values::new(key_of(args));
        }
        self.insert(value);
    }

    fn insert(&mut self, value: Datum) {
        let key = self.values.key();
        let (hasher, equality) = *self
            .functions
            .get_or_insert_with(|| (Hasher::new(key), Comparer::equality(key)));
        let hash = hasher.hash(value);
        let mut place = self.newest.get(&hash).copied();
        while let Some(i) = place {
            if equality.equal(self.values.get(i), value) {
                return;
            }
            place = self.before[i];
        }
        if self.values.len() < self.limit {
            self.before
                .push(self.newest.insert(hash, self.values.len()));
            self.values.push(value);
        }
    }
}

impl State for Set {
    fn merge(&mut self, other: &Self) {
        if self.limit == 0 {
            self.limit = other.limit;
            self.values = Values::new(other.values.key());
        }
        (0..other.values.len()).for_each(|i| self.insert(other.values.get(i)));
    }

    fn write(&mut self) -> Vec<u8> {
        [
            (self.limit as u64).to_le_bytes().as_slice(),
            &self.values.write(),
        ]
        .concat()
    }

    fn read(bytes: &[u8]) -> Result<Self, SketchError> {
        let mut reader = Reader::new(bytes);
        Ok(Set {
            limit: reader.u64()? as usize,
            values: Values::read(&mut reader)?,
            ..Set::default()
        })
    }
}

/// JSON of the first value of each key.
#[derive(Default)]
struct Map(HashMap<Vec<u8>, Vec<u8>>);

impl Map {
    /// Arguments: key, value. A NULL key cannot be a member's name and is left out.
    fn add(&mut self, args: &Args) {
        if args.is_null(1) {
            return;
        }
        let key = args.text_of(1);
        if !self.0.contains_key(&*key) {
            self.0
                .insert(key.into_owned(), to_json(args.datum(2), args.type_of(2)));
        }
    }

    fn json(&self) -> Vec<u8> {
        let mut out = vec![b'{'];
        for (key, value) in &self.0 {
            if out.len() > 1 {
                out.push(b',');
            }
            out.extend(
                serde_json::Value::from(String::from_utf8_lossy(key))
                    .to_string()
                    .into_bytes(),
            );
            out.push(b':');
            out.extend(value);
        }
        out.push(b'}');
        out
    }
}

impl State for Map {
    fn merge(&mut self, other: &Self) {
        for (key, value) in &other.0 {
            self.0.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }

    fn write(&mut self) -> Vec<u8> {
        let mut out = (self.0.len() as u64).to_le_bytes().to_vec();
        for (key, value) in &self.0 {
            put_bytes(&mut out, key);
            put_bytes(&mut out, value);
        }
        out
    }

    fn read(bytes: &[u8]) -> Result<Self, SketchError> {
        let mut reader = Reader::new(bytes);
        let count = reader.count(16)?;
        (0..count)
            .map(|_| Ok((reader.bytes()?.to_vec(), reader.bytes()?.to_vec())))
            .collect::<Result<_, _>>()
            .map(Map)
    }
}
