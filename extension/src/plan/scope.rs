// SPDX-License-Identifier: Apache-2.0
//! What the expressions of a plan node may refer to, and the engine's columns behind it.
use super::types;
use doris_engine::types::DataType;
use pgrx::pg_sys;

/// A value that an engine node puts out.
#[derive(Clone, Copy, Debug)]
pub enum Column {
    /// A column of the engine.
    Native(usize, DataType),
    /// What the engine cannot compute; there to keep its place, as long as nobody above asks for it.
    Missing,
}

/// A column of the node's output as PostgreSQL knows it.
#[derive(Clone)]
pub struct Item {
    /// The expression that stands for it in the node's targetlist and quals (Var, Aggref, ...).
    pub node: *mut pg_sys::Node,
    /// The same with references to base tables only, for EXPLAIN.
    pub shown: *mut pg_sys::Node,
    /// The engine's column.
    pub column: Column,
    /// Its PostgreSQL type.
    pub type_oid: pg_sys::Oid,
}

impl Item {
    /// An item for an expression.
    ///
    /// # Safety
    /// An expression of a finished plan, which outlives the item.
    pub unsafe fn new(node: *mut pg_sys::Node, column: Column) -> Self {
        // SAFETY: passed on to the caller.
        let type_oid = unsafe { pg_sys::exprType(node) };
        Self {
            node,
            shown: node,
            column,
            type_oid,
        }
    }

    /// How its vectors become Datums.
    pub fn attr(&self) -> crate::read::attrs::Attr {
        let kind = match self.column {
            Column::Native(_, data_type) => types::kind_of(data_type),
            Column::Missing => crate::write::kind::Kind::Varlena,
        };
        crate::read::attrs::Attr {
            number: 0,
            kind,
            type_oid: self.type_oid,
            dropped: false,
        }
    }
}

/// The items that expressions of a node may refer to.
#[derive(Clone, Default)]
pub struct Scope {
    /// In the order of the engine's output.
    pub items: Vec<Item>,
}

impl Scope {
    /// Whether PostgreSQL can be given all items.
    pub fn is_showable(&self) -> bool {
        let missing = |item: &Item| matches!(item.column, Column::Missing);
        !self.items.iter().any(missing)
    }

    /// The item that is the same as an expression.
    ///
    /// # Safety
    /// An expression of a finished plan.
    pub unsafe fn find(&self, node: *mut pg_sys::Node) -> Option<usize> {
        // SAFETY: passed on to the caller; items hold expressions, too.
        unsafe {
            if (*node).type_ == pg_sys::NodeTag::T_Var {
                let var = node as *mut pg_sys::Var;
                return self.items.iter().position(|item| {
                    let other = item.node as *mut pg_sys::Var;
                    (*item.node).type_ == pg_sys::NodeTag::T_Var
                        && (*var).varno == (*other).varno
                        && (*var).varattno == (*other).varattno
                });
            }
            self.items
                .iter()
                .position(|item| pg_sys::equal(item.node.cast(), node.cast()))
        }
    }
}
