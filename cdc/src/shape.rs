// SPDX-License-Identifier: Apache-2.0
//! What changed between two descriptions of a source table, and what its mirror has to do.

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
    Rename { from: String, to: String },
    /// Add the column.
    Add(String),
    /// The column has another type.
    Retype(String),
}

/// The steps from `known` to `now`: drops, renames, types, additions.
///
/// Names are matched first. A name that is gone and one that is new are a rename when they have the same column
/// number; a number of zero (the column is no longer on the source) matches nothing.
pub fn steps(known: &[Known], now: &[Known]) -> Vec<Step> {
    let (mut drops, mut renames, mut types, mut adds) = (vec![], vec![], vec![], vec![]);
    let named = |list: &[Known], name: &str| list.iter().find(|c| c.name == name).cloned();
    for old in known {
        if named(now, &old.name)
            .is_some_and(|n| n.number == old.number || n.number == 0 || old.number == 0)
        {
            continue;
        }
        let renamed = now.iter().find(|n| {
            n.number != 0
                && n.number == old.number
                && named(known, &n.name).is_none_or(|k| k.number != n.number)
        });
        match renamed {
            Some(new) => renames.push(Step::Rename {
                from: old.name.clone(),
                to: new.name.clone(),
            }),
            None => drops.push(Step::Drop(old.name.clone())),
        }
    }
    for new in now {
        let before = known
            .iter()
            .find(|k| k.number != 0 && k.number == new.number)
            .or_else(|| {
                known
                    .iter()
                    .find(|k| k.name == new.name && (k.number == 0 || new.number == 0))
            });
        match before {
            None => adds.push(Step::Add(new.name.clone())),
            Some(k) if (k.type_oid, k.typmod) != (new.type_oid, new.typmod) => {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn col(number: i16, name: &str, type_oid: u32) -> Known {
        Known {
            number,
            name: name.into(),
            type_oid,
            typmod: -1,
        }
    }

    #[test]
    fn each_alteration_is_recognised() {
        let known = [col(1, "a", 23), col(2, "b", 25)];
        assert_eq!(steps(&known, &known), []);
        assert_eq!(steps(&known, &known[..1]), [Step::Drop("b".into())]);
        assert_eq!(
            steps(&known, &[col(1, "a", 23), col(2, "b", 25), col(3, "c", 23)]),
            [Step::Add("c".into())]
        );
        let renamed = [col(1, "a", 23), col(2, "z", 25)];
        assert_eq!(
            steps(&known, &renamed),
            [Step::Rename {
                from: "b".into(),
                to: "z".into()
            }]
        );
        assert_eq!(
            steps(&known, &[col(1, "a", 20), col(2, "b", 25)]),
            [Step::Retype("a".into())]
        );
    }

    #[test]
    fn names_that_change_places_go_by_way_of_others() {
        let known = [col(1, "a", 23), col(2, "b", 25), col(3, "c", 25)];
        let now = [col(1, "b", 23), col(2, "a", 25), col(3, "c", 25)];
        let rename = |from: &str, to: &str| Step::Rename {
            from: from.into(),
            to: to.into(),
        };
        let expected = [
            rename("a", "pg_doris_renamed_0"),
            rename("b", "pg_doris_renamed_1"),
            rename("pg_doris_renamed_0", "b"),
            rename("pg_doris_renamed_1", "a"),
        ];
        assert_eq!(steps(&known, &now), expected);
        let now = [col(1, "x", 23), col(2, "y", 25), col(3, "c", 25)];
        assert_eq!(steps(&known, &now), [rename("a", "x"), rename("b", "y")]);
    }

    #[test]
    fn dropped_and_added_again_is_not_a_rename() {
        let known = [col(1, "a", 23), col(2, "b", 25)];
        let now = [col(1, "a", 23), col(3, "c", 25)];
        assert_eq!(
            steps(&known, &now),
            [Step::Drop("b".into()), Step::Add("c".into())]
        );
        let same_name = [col(1, "a", 23), col(3, "b", 25)];
        assert_eq!(
            steps(&known, &same_name),
            [Step::Drop("b".into()), Step::Add("b".into())]
        );
    }
}
