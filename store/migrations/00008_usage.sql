-- +goose Up
-- What apps and services used, for whoever bills for it. There are no references:
-- events outlive what they are about.
CREATE TABLE app_usage_events (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  task_guid TEXT
);
CREATE INDEX app_usage_events_1 ON app_usage_events (created_at);
CREATE INDEX app_usage_events_2 ON app_usage_events (task_guid);
CREATE TABLE service_usage_events (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  service_instance_type TEXT NOT NULL,
  offering_guid TEXT
);
CREATE INDEX service_usage_events_1 ON service_usage_events (created_at);
-- +goose Down
DROP TABLE service_usage_events;
DROP TABLE app_usage_events;
