-- SPDX-License-Identifier: Apache-2.0
-- Type hll: approximate distinct counts.
CREATE TYPE hll;
CREATE FUNCTION hll_in(cstring) RETURNS hll
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_hll_in';
CREATE FUNCTION hll_out(hll) RETURNS cstring
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_hll_out';
CREATE FUNCTION hll_recv(internal) RETURNS hll
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_hll_recv';
CREATE FUNCTION hll_send(hll) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_hll_send';
CREATE TYPE hll (
  INPUT = hll_in, OUTPUT = hll_out, RECEIVE = hll_recv, SEND = hll_send,
  INTERNALLENGTH = variable, ALIGNMENT = int4, STORAGE = extended
);

CREATE FUNCTION hll_empty() RETURNS hll
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_hll_empty';
CREATE FUNCTION hll_hash(text) RETURNS hll
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_hll_hash';
CREATE FUNCTION hll_hash(anyelement) RETURNS hll
  LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_hll_hash';
CREATE FUNCTION hll_cardinality(hll) RETURNS bigint
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_hll_cardinality';
CREATE FUNCTION _hll_union_trans(internal, hll) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_hll_union_trans';
CREATE FUNCTION _hll_union_combine(internal, internal) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_hll_union_combine';
CREATE FUNCTION _hll_union_serial(internal) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_hll_union_serial';
CREATE FUNCTION _hll_union_deserial(bytea, internal) RETURNS internal
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_hll_union_deserial';
CREATE FUNCTION _hll_union_final(internal) RETURNS hll
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_hll_union_final';
CREATE FUNCTION _hll_union_agg_final(internal) RETURNS bigint
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_hll_union_agg_final';
CREATE AGGREGATE hll_union(hll) (
  SFUNC = _hll_union_trans, STYPE = internal, SSPACE = 16384, FINALFUNC = _hll_union_final,
  COMBINEFUNC = _hll_union_combine, SERIALFUNC = _hll_union_serial, DESERIALFUNC = _hll_union_deserial, PARALLEL = SAFE
);
CREATE AGGREGATE hll_raw_agg(hll) (
  SFUNC = _hll_union_trans, STYPE = internal, SSPACE = 16384, FINALFUNC = _hll_union_final,
  COMBINEFUNC = _hll_union_combine, SERIALFUNC = _hll_union_serial, DESERIALFUNC = _hll_union_deserial, PARALLEL = SAFE
);
CREATE AGGREGATE hll_union_agg(hll) (
  SFUNC = _hll_union_trans, STYPE = internal, SSPACE = 16384, FINALFUNC = _hll_union_agg_final,
  COMBINEFUNC = _hll_union_combine, SERIALFUNC = _hll_union_serial, DESERIALFUNC = _hll_union_deserial, PARALLEL = SAFE
);

-- Distinct counts of ordinary values; equal under the type's own operator is equal here.
CREATE FUNCTION _ndv_trans(internal, anycompatible) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_ndv_trans';
CREATE FUNCTION _ndv_combine(internal, internal) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_ndv_combine';
CREATE FUNCTION _ndv_serial(internal) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_ndv_serial';
CREATE FUNCTION _ndv_deserial(bytea, internal) RETURNS internal
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_ndv_deserial';
CREATE FUNCTION _ndv_final(internal) RETURNS bigint
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_ndv_final';
CREATE AGGREGATE approx_count_distinct(anycompatible) (
  SFUNC = _ndv_trans, STYPE = internal, SSPACE = 16384, FINALFUNC = _ndv_final,
  COMBINEFUNC = _ndv_combine, SERIALFUNC = _ndv_serial, DESERIALFUNC = _ndv_deserial, PARALLEL = SAFE
);
CREATE AGGREGATE ndv(anycompatible) (
  SFUNC = _ndv_trans, STYPE = internal, SSPACE = 16384, FINALFUNC = _ndv_final,
  COMBINEFUNC = _ndv_combine, SERIALFUNC = _ndv_serial, DESERIALFUNC = _ndv_deserial, PARALLEL = SAFE
);
