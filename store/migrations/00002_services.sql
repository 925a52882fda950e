-- +goose Up
-- Offerings of service brokers, and what brokers still have to do.
CREATE TABLE service_brokers (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  name TEXT NOT NULL,
  space_guid TEXT REFERENCES spaces(guid) ON DELETE CASCADE
);
CREATE UNIQUE INDEX service_brokers_1 ON service_brokers (name);
CREATE TABLE service_offerings (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  name TEXT NOT NULL,
  broker_guid TEXT NOT NULL REFERENCES service_brokers(guid) ON DELETE CASCADE,
  catalog_id TEXT NOT NULL,
  gone BIGINT NOT NULL
);
CREATE UNIQUE INDEX service_offerings_1 ON service_offerings (broker_guid, catalog_id);
CREATE TABLE service_plans (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  name TEXT NOT NULL,
  offering_guid TEXT NOT NULL REFERENCES service_offerings(guid) ON DELETE CASCADE,
  catalog_id TEXT NOT NULL,
  visibility_type TEXT NOT NULL,
  gone BIGINT NOT NULL
);
CREATE UNIQUE INDEX service_plans_1 ON service_plans (offering_guid, catalog_id);
CREATE TABLE plan_visibilities (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  plan_guid TEXT NOT NULL REFERENCES service_plans(guid) ON DELETE CASCADE,
  organization_guid TEXT NOT NULL REFERENCES organizations(guid) ON DELETE CASCADE
);
CREATE UNIQUE INDEX plan_visibilities_1 ON plan_visibilities (plan_guid, organization_guid);
CREATE INDEX plan_visibilities_2 ON plan_visibilities (organization_guid);
-- Plans are kept while there are instances of them.
ALTER TABLE service_instances ADD COLUMN plan_guid TEXT REFERENCES service_plans(guid);
CREATE INDEX service_instances_2 ON service_instances (plan_guid);
CREATE UNIQUE INDEX service_bindings_4 ON service_bindings (service_instance_guid, name) WHERE type = 'key';
-- Work outlives its broker's records: there is no reference.
CREATE TABLE service_work (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  broker_guid TEXT NOT NULL,
  target_guid TEXT NOT NULL,
  due BIGINT NOT NULL
);
CREATE INDEX service_work_1 ON service_work (due);
CREATE INDEX service_work_2 ON service_work (target_guid);
-- +goose Down
DROP TABLE service_work;
DROP INDEX service_bindings_4;
DROP INDEX service_instances_2;
ALTER TABLE service_instances DROP COLUMN plan_guid;
DROP TABLE plan_visibilities;
DROP TABLE service_plans;
DROP TABLE service_offerings;
DROP TABLE service_brokers;
