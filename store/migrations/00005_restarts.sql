-- +goose Up
-- Instances that users want restarted.
CREATE TABLE restarts (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL
);
-- +goose Down
DROP TABLE restarts;
