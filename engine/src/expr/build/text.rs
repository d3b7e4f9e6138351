// SPDX-License-Identifier: Apache-2.0
//! String functions and LIKE.
