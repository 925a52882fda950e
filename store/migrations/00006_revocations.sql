-- +goose Up
CREATE TABLE revocations (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL
);
CREATE INDEX revocations_1 ON revocations (created_at);
-- +goose Down
DROP TABLE revocations;
