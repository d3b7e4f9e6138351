-- SPDX-License-Identifier: Apache-2.0
-- What a partial update gives to a column that it leaves out and that must not be null; never stored.
CREATE FUNCTION _unnamed(anyelement, oid) RETURNS anyelement
  LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'doris_unnamed';
