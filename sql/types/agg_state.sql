-- SPDX-License-Identifier: Apache-2.0
-- Type agg_state: the transition state of an aggregate.
CREATE TYPE agg_state;
CREATE FUNCTION agg_state_in(cstring, oid, integer) RETURNS agg_state
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_agg_state_in';
CREATE FUNCTION agg_state_out(agg_state) RETURNS cstring
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_agg_state_out';
CREATE FUNCTION agg_state_recv(internal, oid, integer) RETURNS agg_state
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_agg_state_recv';
CREATE FUNCTION agg_state_send(agg_state) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_agg_state_send';
CREATE FUNCTION agg_state_typmod_in(cstring[]) RETURNS integer
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_agg_state_typmod_in';
CREATE FUNCTION agg_state_typmod_out(integer) RETURNS cstring
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_agg_state_typmod_out';
CREATE TYPE agg_state (
  INPUT = agg_state_in, OUTPUT = agg_state_out, RECEIVE = agg_state_recv, SEND = agg_state_send,
  TYPMOD_IN = agg_state_typmod_in, TYPMOD_OUT = agg_state_typmod_out,
  INTERNALLENGTH = variable, ALIGNMENT = int4, STORAGE = extended
);
CREATE FUNCTION _agg_state_typmod(agg_state, integer) RETURNS agg_state
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_agg_state_typmod';
CREATE CAST (agg_state AS agg_state) WITH FUNCTION _agg_state_typmod(agg_state, integer) AS IMPLICIT;

CREATE FUNCTION agg_state(aggregate regprocedure) RETURNS agg_state
  LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_agg_state';
CREATE FUNCTION agg_state(aggregate regprocedure, VARIADIC arguments "any") RETURNS agg_state
  LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_agg_state';
CREATE FUNCTION agg_state_aggregate(state agg_state) RETURNS text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_agg_state_aggregate';
CREATE FUNCTION agg_final(state agg_state, result anyelement) RETURNS anyelement
  LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_agg_final';

CREATE FUNCTION _agg_union_trans(internal, agg_state) RETURNS internal
  LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_agg_union_trans';
CREATE FUNCTION _agg_union_combine(internal, internal) RETURNS internal
  LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_agg_union_combine';
CREATE FUNCTION _agg_union_serial(internal) RETURNS bytea
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_agg_union_serial';
CREATE FUNCTION _agg_union_deserial(bytea, internal) RETURNS internal
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_agg_union_deserial';
CREATE FUNCTION _agg_union_final(internal) RETURNS agg_state
  LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_agg_union_final';
CREATE AGGREGATE agg_union(agg_state) (
  SFUNC = _agg_union_trans, STYPE = internal, SSPACE = 8192, FINALFUNC = _agg_union_final,
  COMBINEFUNC = _agg_union_combine, SERIALFUNC = _agg_union_serial, DESERIALFUNC = _agg_union_deserial, PARALLEL = SAFE
);
CREATE FUNCTION _agg_merge_trans(internal, agg_state, anyelement) RETURNS internal
  LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_agg_union_trans';
CREATE FUNCTION _agg_merge_final(internal, agg_state, anyelement) RETURNS anyelement
  LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_agg_merge_final';
CREATE AGGREGATE agg_merge(agg_state, anyelement) (
  SFUNC = _agg_merge_trans, STYPE = internal, SSPACE = 8192, FINALFUNC = _agg_merge_final, FINALFUNC_EXTRA,
  COMBINEFUNC = _agg_union_combine, SERIALFUNC = _agg_union_serial, DESERIALFUNC = _agg_union_deserial, PARALLEL = SAFE
);
