-- SPDX-License-Identifier: Apache-2.0
-- Type bitmap: sets of unsigned 64-bit integers.
CREATE TYPE bitmap;
CREATE FUNCTION bitmap_in(cstring) RETURNS bitmap
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_in';
CREATE FUNCTION bitmap_out(bitmap) RETURNS cstring
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_out';
CREATE FUNCTION bitmap_recv(internal) RETURNS bitmap
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_recv';
CREATE FUNCTION bitmap_send(bitmap) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_send';
CREATE TYPE bitmap (
  INPUT = bitmap_in, OUTPUT = bitmap_out, RECEIVE = bitmap_recv, SEND = bitmap_send,
  INTERNALLENGTH = variable, ALIGNMENT = int4, STORAGE = extended
);

-- Comparison. There is no order of sets that anybody would sort by, so there is no btree class.
CREATE FUNCTION bitmap_eq(bitmap, bitmap) RETURNS boolean
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_eq';
CREATE FUNCTION bitmap_ne(bitmap, bitmap) RETURNS boolean
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_ne';
CREATE FUNCTION _bitmap_hash_value(bitmap) RETURNS integer
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_hash_value';
CREATE FUNCTION _bitmap_hash_value_extended(bitmap, bigint) RETURNS bigint
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_hash_value_extended';
CREATE OPERATOR = (
  LEFTARG = bitmap, RIGHTARG = bitmap, FUNCTION = bitmap_eq, COMMUTATOR = =, NEGATOR = <>,
  RESTRICT = eqsel, JOIN = eqjoinsel, HASHES
);
CREATE OPERATOR <> (
  LEFTARG = bitmap, RIGHTARG = bitmap, FUNCTION = bitmap_ne, COMMUTATOR = <>, NEGATOR = =,
  RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR CLASS bitmap_hash_ops DEFAULT FOR TYPE bitmap USING hash AS
  OPERATOR 1 =,
  FUNCTION 1 _bitmap_hash_value(bitmap),
  FUNCTION 2 _bitmap_hash_value_extended(bitmap, bigint);

-- Making bitmaps, and reading them.
CREATE FUNCTION bitmap_empty() RETURNS bitmap
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_empty';
CREATE FUNCTION to_bitmap(bigint) RETURNS bitmap
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_to_bitmap_int';
CREATE FUNCTION to_bitmap(text) RETURNS bitmap
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_to_bitmap_text';
CREATE FUNCTION bitmap_hash(text) RETURNS bitmap
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_hash';
CREATE FUNCTION bitmap_hash(anyelement) RETURNS bitmap
  LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_hash';
CREATE FUNCTION bitmap_hash64(text) RETURNS bitmap
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_hash64';
CREATE FUNCTION bitmap_hash64(anyelement) RETURNS bitmap
  LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_hash64';
CREATE FUNCTION bitmap_from_string(text) RETURNS bitmap
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_from_string';
CREATE FUNCTION bitmap_from_array(bigint[]) RETURNS bitmap
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_from_array';
CREATE FUNCTION _bitmap_cast(bigint[]) RETURNS bitmap
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_cast_array';
CREATE FUNCTION bitmap_to_string(bitmap) RETURNS text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_to_string';
CREATE FUNCTION bitmap_to_array(bitmap) RETURNS bigint[]
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_to_array';
CREATE CAST (bigint[] AS bitmap) WITH FUNCTION _bitmap_cast(bigint[]);
CREATE CAST (bitmap AS bigint[]) WITH FUNCTION bitmap_to_array(bitmap);
CREATE CAST (text AS bitmap) WITH INOUT;
CREATE FUNCTION bitmap_count(bitmap) RETURNS bigint
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_count';
CREATE FUNCTION bitmap_min(bitmap) RETURNS bigint
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_min';
CREATE FUNCTION bitmap_max(bitmap) RETURNS bigint
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_max';
CREATE FUNCTION bitmap_contains(bitmap, bigint) RETURNS boolean
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_contains';
CREATE FUNCTION bitmap_has_any(bitmap, bitmap) RETURNS boolean
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_has_any';
CREATE FUNCTION bitmap_has_all(bitmap, bitmap) RETURNS boolean
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_has_all';
CREATE FUNCTION _bitmap_within(bitmap, bitmap) RETURNS boolean
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_within';
CREATE FUNCTION sub_bitmap(bitmap, bigint, bigint) RETURNS bitmap
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_sub_bitmap';
CREATE FUNCTION bitmap_subset_in_range(bitmap, bigint, bigint) RETURNS bitmap
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_subset_in_range';
CREATE FUNCTION bitmap_subset_limit(bitmap, bigint, bigint) RETURNS bitmap
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_subset_limit';
CREATE FUNCTION bitmap_remove(bitmap, bigint) RETURNS bitmap
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_remove';

-- Set algebra. The forms with two arguments spare the array of the variadic ones.
CREATE FUNCTION bitmap_and(bitmap, bitmap) RETURNS bitmap
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_and';
CREATE FUNCTION bitmap_and(VARIADIC bitmap[]) RETURNS bitmap
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_and_all';
CREATE FUNCTION bitmap_and_count(VARIADIC bitmap[]) RETURNS bigint
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_and_count';
CREATE FUNCTION bitmap_or(bitmap, bitmap) RETURNS bitmap
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_or';
CREATE FUNCTION bitmap_or(VARIADIC bitmap[]) RETURNS bitmap
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_or_all';
CREATE FUNCTION bitmap_or_count(VARIADIC bitmap[]) RETURNS bigint
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_or_count';
CREATE FUNCTION bitmap_xor(bitmap, bitmap) RETURNS bitmap
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_xor';
CREATE FUNCTION bitmap_xor(VARIADIC bitmap[]) RETURNS bitmap
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_xor_all';
CREATE FUNCTION bitmap_xor_count(VARIADIC bitmap[]) RETURNS bigint
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_xor_count';
CREATE FUNCTION bitmap_and_not(bitmap, bitmap) RETURNS bitmap
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_and_not';
CREATE FUNCTION bitmap_not(bitmap, bitmap) RETURNS bitmap
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_and_not';
CREATE FUNCTION bitmap_and_not_count(bitmap, bitmap) RETURNS bigint
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_and_not_count';
CREATE OPERATOR & (LEFTARG = bitmap, RIGHTARG = bitmap, FUNCTION = bitmap_and, COMMUTATOR = &);
CREATE OPERATOR | (LEFTARG = bitmap, RIGHTARG = bitmap, FUNCTION = bitmap_or, COMMUTATOR = |);
CREATE OPERATOR # (LEFTARG = bitmap, RIGHTARG = bitmap, FUNCTION = bitmap_xor, COMMUTATOR = #);
CREATE OPERATOR - (LEFTARG = bitmap, RIGHTARG = bitmap, FUNCTION = bitmap_and_not);
CREATE OPERATOR @> (
  LEFTARG = bitmap, RIGHTARG = bitmap, FUNCTION = bitmap_has_all, COMMUTATOR = <@,
  RESTRICT = contsel, JOIN = contjoinsel
);
CREATE OPERATOR <@ (
  LEFTARG = bitmap, RIGHTARG = bitmap, FUNCTION = _bitmap_within, COMMUTATOR = @>,
  RESTRICT = contsel, JOIN = contjoinsel
);
CREATE OPERATOR && (
  LEFTARG = bitmap, RIGHTARG = bitmap, FUNCTION = bitmap_has_any, COMMUTATOR = &&,
  RESTRICT = contsel, JOIN = contjoinsel
);
CREATE OPERATOR @> (
  LEFTARG = bitmap, RIGHTARG = bigint, FUNCTION = bitmap_contains, RESTRICT = contsel, JOIN = contjoinsel
);

-- Aggregates.
CREATE FUNCTION _bitmap_union_trans(internal, bitmap) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_union_trans';
CREATE FUNCTION _bitmap_union_combine(internal, internal) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_union_combine';
CREATE FUNCTION _bitmap_union_serial(internal) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_union_serial';
CREATE FUNCTION _bitmap_union_deserial(bytea, internal) RETURNS internal
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_union_deserial';
CREATE FUNCTION _bitmap_union_final(internal) RETURNS bitmap
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_union_final';
CREATE FUNCTION _bitmap_union_count_final(internal) RETURNS bigint
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_union_count_final';
CREATE FUNCTION _bitmap_agg_trans(internal, bigint) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_agg_trans';
CREATE AGGREGATE bitmap_union(bitmap) (
  SFUNC = _bitmap_union_trans, STYPE = internal, SSPACE = 4096, FINALFUNC = _bitmap_union_final,
  COMBINEFUNC = _bitmap_union_combine, SERIALFUNC = _bitmap_union_serial, DESERIALFUNC = _bitmap_union_deserial, PARALLEL = SAFE
);
CREATE AGGREGATE bitmap_union_count(bitmap) (
  SFUNC = _bitmap_union_trans, STYPE = internal, SSPACE = 4096, FINALFUNC = _bitmap_union_count_final,
  COMBINEFUNC = _bitmap_union_combine, SERIALFUNC = _bitmap_union_serial, DESERIALFUNC = _bitmap_union_deserial, PARALLEL = SAFE
);
CREATE AGGREGATE bitmap_agg(bigint) (
  SFUNC = _bitmap_agg_trans, STYPE = internal, SSPACE = 4096, FINALFUNC = _bitmap_union_final,
  COMBINEFUNC = _bitmap_union_combine, SERIALFUNC = _bitmap_union_serial, DESERIALFUNC = _bitmap_union_deserial, PARALLEL = SAFE
);
CREATE FUNCTION _bitmap_intersect_trans(internal, bitmap) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_intersect_trans';
CREATE FUNCTION _bitmap_intersect_combine(internal, internal) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_intersect_combine';
CREATE FUNCTION _bitmap_intersect_serial(internal) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_intersect_serial';
CREATE FUNCTION _bitmap_intersect_deserial(bytea, internal) RETURNS internal
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_intersect_deserial';
CREATE FUNCTION _bitmap_intersect_final(internal) RETURNS bitmap
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_intersect_final';
CREATE AGGREGATE bitmap_intersect(bitmap) (
  SFUNC = _bitmap_intersect_trans, STYPE = internal, SSPACE = 4096, FINALFUNC = _bitmap_intersect_final,
  COMBINEFUNC = _bitmap_intersect_combine, SERIALFUNC = _bitmap_intersect_serial, DESERIALFUNC = _bitmap_intersect_deserial, PARALLEL = SAFE
);
CREATE FUNCTION _bitmap_xor_trans(internal, bitmap) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_xor_trans';
CREATE FUNCTION _bitmap_xor_combine(internal, internal) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_xor_combine';
CREATE FUNCTION _bitmap_xor_serial(internal) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_xor_serial';
CREATE FUNCTION _bitmap_xor_deserial(bytea, internal) RETURNS internal
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_xor_deserial';
CREATE FUNCTION _bitmap_xor_final(internal) RETURNS bitmap
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_bitmap_xor_final';
CREATE AGGREGATE group_bitmap_xor(bitmap) (
  SFUNC = _bitmap_xor_trans, STYPE = internal, SSPACE = 4096, FINALFUNC = _bitmap_xor_final,
  COMBINEFUNC = _bitmap_xor_combine, SERIALFUNC = _bitmap_xor_serial, DESERIALFUNC = _bitmap_xor_deserial, PARALLEL = SAFE
);
CREATE FUNCTION _intersect_count_trans(internal, bitmap, anycompatible, VARIADIC anycompatiblearray) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_intersect_count_trans';
CREATE FUNCTION _intersect_count_combine(internal, internal) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_intersect_count_combine';
CREATE FUNCTION _intersect_count_serial(internal) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_intersect_count_serial';
CREATE FUNCTION _intersect_count_deserial(bytea, internal) RETURNS internal
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_intersect_count_deserial';
CREATE FUNCTION _intersect_count_final(internal) RETURNS bigint
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_intersect_count_final';
CREATE AGGREGATE intersect_count(bitmap, anycompatible, VARIADIC anycompatiblearray) (
  SFUNC = _intersect_count_trans, STYPE = internal, SSPACE = 8192, FINALFUNC = _intersect_count_final,
  COMBINEFUNC = _intersect_count_combine, SERIALFUNC = _intersect_count_serial, DESERIALFUNC = _intersect_count_deserial, PARALLEL = SAFE
);
