// SPDX-License-Identifier: Apache-2.0
//! What changed between two descriptions of a source table, and what its mirror has to do.
#[cfg(test)]
mod tests;

/// A column as it was recorded when the mirror was last in step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The column's number on the source, which a rename keeps.
    pub number: i16,
    /// Name.
    pub name: String,
    /// Type oid on the source.
    pub type_oid: u32,
    /// Type modifier.
    pub typmod: i32,
}

/// One step that brings the mirror back in step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Drop the column.
    Drop(String),
    /// Rename the column.
    Rename {
        /// Its name so far.
        from: String,
        /// Its name from now on.
        to: String,
    },
    /// Add the column.
    Add(String),
    /// The column has another type.
    Retype(String),
}

/// What the source's catalogue shows of a table, at or after the moment at which the stream described it.
#[derive(Clone, Copy, Debug)]
pub struct Catalogue<'a> {
    /// The columns of the stream, in the order of their numbers.
    pub columns: &'a [Known],
    /// The numbers of columns that were dropped.
    pub dropped: &'a [i16],
}

/// Columns that were dropped since, more of which are not tried.
const DROPPED_MAX: usize = 8;

/// The stream describes columns without their numbers, as they were then; the catalogue has the numbers, as they are
/// now. This finds which number each column of `streamed` had. `known` was in step before; columns of numbers above
/// `made` were made since. `None` if that cannot be told.
///
/// Both are in the order of numbers, which columns get as they are made and keep as long as they live. What lives now
/// and was known, the stream has described; so, where none was dropped, the number of columns tells which they are,
/// whatever they are called. Where one was, a type that could not become another may. Names tell nothing: they may have
/// been any in between.
pub fn numbered(
    known: &[Known],
    made: i16,
    streamed: &[Known],
    now: Catalogue<'_>,
) -> Option<Vec<Known>> {
    if now.columns.is_empty() && now.dropped.is_empty() {
        return Some(by_name(known, made, streamed));
    }
    let lives = |number: i16| now.columns.iter().any(|c| c.number == number);
    let numbers = now.columns.iter().map(|c| c.number);
    let mut new: Vec<i16> = numbers.chain(now.dropped.iter().copied()).collect();
    new.retain(|number| *number > made);
    new.sort_unstable();
    let mut found: Vec<Vec<i16>> = Vec::new();
    for newer in 0..=new.len() {
        let all = known.iter().map(|k| k.number);
        let all: Vec<i16> = all.chain(new[..newer].iter().copied()).collect();
        let maybe: Vec<i16> = all.iter().copied().filter(|n| !lives(*n)).collect();
        let Some(wanted) = streamed.len().checked_sub(all.len() - maybe.len()) else {
            continue;
        };
        if maybe.len() > DROPPED_MAX {
            return None;
        }
        let chosen = (0u32..1 << maybe.len()).filter(|set| set.count_ones() as usize == wanted);
        for set in chosen {
            let left = |n: &i16| {
                let at = maybe.iter().position(|m| m == n);
                at.is_none_or(|at| set & (1 << at) != 0)
            };
            let numbers: Vec<i16> = all.iter().copied().filter(left).collect();
            if !found.contains(&numbers) {
                found.push(numbers);
            }
        }
    }
    if found.len() > 1 {
        found.retain(|numbers| is_possible(numbers, known, streamed, now.columns));
    }
    let [numbers] = &found[..] else { return None };
    Some(with_numbers(streamed, numbers))
}

fn with_numbers(streamed: &[Known], numbers: &[i16]) -> Vec<Known> {
    let columns = streamed.iter().zip(numbers);
    let numbered = columns.map(|(column, number)| Known {
        number: *number,
        ..column.clone()
    });
    numbered.collect()
}

/// What a type of PostgreSQL's own is, if values are written anew, and the table's mirror is filled again whatever is
/// found here, when a column becomes one of another of these kinds: bool, bytea, the integers, json, the floats, date,
/// numeric, uuid, jsonb; the kinds of text are one.
fn kind(type_oid: u32) -> Option<u32> {
    match type_oid {
        16 | 17 | 20 | 21 | 23 | 114 | 700 | 701 | 1082 | 1700 | 2950 | 3802 => Some(type_oid),
        25 | 1042 | 1043 => Some(25),
        _ => None,
    }
}

/// Whether each column has a type that it may have had.
fn is_possible(numbers: &[i16], known: &[Known], streamed: &[Known], now: &[Known]) -> bool {
    let apart = |a: u32, b: u32| matches!((kind(a), kind(b)), (Some(a), Some(b)) if a != b);
    numbers.iter().zip(streamed).all(|(number, column)| {
        let mut same = known.iter().chain(now).filter(|k| k.number == *number);
        !same.any(|k| apart(k.type_oid, column.type_oid))
    })
}

/// The numbers of the columns of a table that is gone: what is left of the stream goes by their names.
fn by_name(known: &[Known], made: i16, streamed: &[Known]) -> Vec<Known> {
    let mut newest = made;
    let numbers: Vec<i16> = streamed
        .iter()
        .map(|column| {
            let before = known.iter().find(|k| k.name == column.name);
            before.map_or_else(
                || {
                    newest += 1;
                    newest
                },
                |k| k.number,
            )
        })
        .collect();
    with_numbers(streamed, &numbers)
}

/// The steps from `known` to `now`: drops, renames, types, additions. Columns are the same if their numbers are.
pub fn steps(known: &[Known], now: &[Known]) -> Vec<Step> {
    let (mut drops, mut renames, mut types, mut adds) = (vec![], vec![], vec![], vec![]);
    let of = |list: &[Known], number: i16| list.iter().find(|c| c.number == number).cloned();
    for old in known {
        match of(now, old.number) {
            None => drops.push(Step::Drop(old.name.clone())),
            Some(new) if new.name != old.name => renames.push(Step::Rename {
                from: old.name.clone(),
                to: new.name,
            }),
            Some(_) => {}
        }
    }
    for new in now {
        match of(known, new.number) {
            None => adds.push(Step::Add(new.name.clone())),
            Some(old) if (old.type_oid, old.typmod) != (new.type_oid, new.typmod) => {
                types.push(Step::Retype(new.name.clone()))
            }
            Some(_) => {}
        }
    }
    [drops, untangled(renames), types, adds].concat()
}

/// Renames that can be carried out one after the other: where one's new name is still another's old one, all go by way
/// of names that nobody has.
fn untangled(renames: Vec<Step>) -> Vec<Step> {
    let names = |step: &Step| match step {
        Step::Rename { from, to } => Some((from.clone(), to.clone())),
        _ => None,
    };
    let pairs: Vec<(String, String)> = renames.iter().filter_map(names).collect();
    let taken = |to: &String| pairs.iter().any(|(from, _)| from == to);
    if !pairs.iter().any(|(_, to)| taken(to)) {
        return renames;
    }
    let between = |at: usize| format!("pg_doris_renamed_{at}");
    let away = pairs
        .iter()
        .enumerate()
        .map(|(at, (from, _))| Step::Rename {
            from: from.clone(),
            to: between(at),
        });
    let back = pairs.iter().enumerate().map(|(at, (_, to))| Step::Rename {
        from: between(at),
        to: to.clone(),
    });
    away.chain(back).collect()
}
