-- +goose Up
-- What runs where. There are no references: an instance outlives the records
-- of its app until its cell has ended it.
CREATE TABLE cells (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  zone TEXT NOT NULL
);
CREATE TABLE placements (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  process_guid TEXT,
  app_guid TEXT NOT NULL,
  task_guid TEXT,
  cell_id TEXT
);
CREATE INDEX placements_1 ON placements (process_guid);
CREATE INDEX placements_2 ON placements (app_guid);
CREATE INDEX placements_3 ON placements (cell_id);
CREATE TABLE reports (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  cell_id TEXT NOT NULL,
  app_guid TEXT,
  state TEXT NOT NULL
);
CREATE INDEX reports_1 ON reports (cell_id);
CREATE INDEX reports_2 ON reports (app_guid);
CREATE TABLE leases (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL
);
-- +goose Down
DROP TABLE leases;
DROP TABLE reports;
DROP TABLE placements;
DROP TABLE cells;
