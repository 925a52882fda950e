-- +goose Up
-- What spaces let other spaces use.
CREATE TABLE shares (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  service_instance_guid TEXT REFERENCES service_instances(guid) ON DELETE CASCADE,
  route_guid TEXT REFERENCES routes(guid) ON DELETE CASCADE,
  space_guid TEXT NOT NULL REFERENCES spaces(guid) ON DELETE CASCADE
);
CREATE UNIQUE INDEX shares_1 ON shares (space_guid, COALESCE(service_instance_guid, ''), COALESCE(route_guid, ''));
CREATE INDEX shares_2 ON shares (service_instance_guid);
CREATE INDEX shares_3 ON shares (route_guid);
-- +goose Down
DROP TABLE shares;
