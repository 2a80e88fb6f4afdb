BEGIN;
CREATE TABLE t (id int, note text DEFAULT '-- no comment');
CREATE FUNCTION f() RETURNS int AS $$
  SELECT 1; -- one
$$ LANGUAGE sql;
COMMIT;
