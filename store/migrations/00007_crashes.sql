-- +goose Up
-- What is kept of instances that crashed.
CREATE TABLE crashes (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  app_guid TEXT NOT NULL REFERENCES apps(guid) ON DELETE CASCADE
);
CREATE INDEX crashes_1 ON crashes (app_guid, created_at);
-- +goose Down
DROP TABLE crashes;
