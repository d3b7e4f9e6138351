// SPDX-License-Identifier: Apache-2.0
//! DELETE statements that hit many segment rows delete them in bulk.
//!
//! PostgreSQL deletes row by row, and wants to know at once what became of a row. So a node between ModifyTable and
//! its input reads ahead (`node`), and deletes runs of segment rows in bulk before it hands them out (`ahead`). When
//! ModifyTable then asks for such a row to be deleted, that is done already. What somebody else holds is left to
//! ModifyTable, which waits and looks at the row again, as ever.
//!
//! Nobody can tell the difference: ModifyTable always deletes all rows of its input; statements in which something
//! could look at the table between two rows (volatile functions, BEFORE triggers, other data-modifying parts, row
//! locks) are left alone (`plan`). Rows after one that cannot be deleted at once are not deleted before it, so that
//! no deadlock comes to be that the order of the rows does not explain.
pub mod ahead;
pub mod node;
pub mod plan;
