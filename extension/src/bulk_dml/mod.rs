// SPDX-License-Identifier: Apache-2.0
//! DELETE, UPDATE and MERGE statements that hit many segment rows mark them in bulk.
//!
//! PostgreSQL deletes and updates row by row, and wants to know at once what became of a row. So a node between
//! ModifyTable and its input reads ahead (`node`), and marks runs of segment rows in bulk before it hands them out
//! (`bulk_mark`). When ModifyTable then asks for such a row to be deleted, that is done already; to be updated, its new
//! version is all that is to be written. What somebody else holds is left to ModifyTable, which waits and looks at the
//! row again, as ever.
//!
//! Nobody can tell the difference: ModifyTable always deletes or updates all rows of its input that have a place in its
//! tables (`node` looks for those who ask for a few); statements in which something could look at the table between two
//! rows (volatile functions, BEFORE triggers, unique keys that are changed, other data-modifying parts, row locks) are
//! left alone (`plan`, `eligibility`). Rows after one that cannot be marked at once are not marked before it, so that
//! no deadlock comes to be that the order of the rows does not explain.
pub mod bulk_mark;
pub mod eligibility;
pub mod node;
pub mod plan;
