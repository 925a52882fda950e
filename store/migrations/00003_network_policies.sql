-- +goose Up
CREATE TABLE network_policies (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  source_guid TEXT NOT NULL REFERENCES apps(guid) ON DELETE CASCADE,
  destination_guid TEXT NOT NULL REFERENCES apps(guid) ON DELETE CASCADE,
  protocol TEXT NOT NULL,
  start_port BIGINT NOT NULL,
  end_port BIGINT NOT NULL
);
CREATE UNIQUE INDEX network_policies_1 ON network_policies (source_guid, destination_guid, protocol, start_port, end_port);
CREATE INDEX network_policies_2 ON network_policies (destination_guid);
-- +goose Down
DROP TABLE network_policies;
