-- +goose Up
-- One table per noun of package cf. Times are microseconds since 1970.
CREATE TABLE quotas (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  name TEXT NOT NULL,
  organization_guid TEXT
);
CREATE UNIQUE INDEX quotas_1 ON quotas (COALESCE(organization_guid, ''), name);
CREATE TABLE organizations (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  name TEXT NOT NULL,
  quota_guid TEXT REFERENCES quotas(guid)
);
CREATE UNIQUE INDEX organizations_1 ON organizations (name);
CREATE TABLE spaces (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  name TEXT NOT NULL,
  organization_guid TEXT NOT NULL REFERENCES organizations(guid) ON DELETE CASCADE,
  quota_guid TEXT REFERENCES quotas(guid) ON DELETE SET NULL
);
CREATE UNIQUE INDEX spaces_1 ON spaces (organization_guid, name);
CREATE TABLE users (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  username TEXT NOT NULL,
  origin TEXT NOT NULL
);
CREATE INDEX users_1 ON users (username);
CREATE TABLE roles (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  type TEXT NOT NULL,
  user_guid TEXT NOT NULL REFERENCES users(guid) ON DELETE CASCADE,
  organization_guid TEXT REFERENCES organizations(guid) ON DELETE CASCADE,
  space_guid TEXT REFERENCES spaces(guid) ON DELETE CASCADE
);
CREATE UNIQUE INDEX roles_1 ON roles (user_guid, type, COALESCE(organization_guid, ''), COALESCE(space_guid, ''));
CREATE INDEX roles_2 ON roles (organization_guid);
CREATE INDEX roles_3 ON roles (space_guid);
CREATE TABLE apps (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  name TEXT NOT NULL,
  space_guid TEXT NOT NULL REFERENCES spaces(guid) ON DELETE CASCADE,
  state TEXT NOT NULL,
  lifecycle TEXT NOT NULL,
  stack TEXT NOT NULL,
  droplet_guid TEXT
);
CREATE UNIQUE INDEX apps_1 ON apps (space_guid, name);
CREATE TABLE processes (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  app_guid TEXT NOT NULL REFERENCES apps(guid) ON DELETE CASCADE,
  space_guid TEXT NOT NULL REFERENCES spaces(guid) ON DELETE CASCADE,
  type TEXT NOT NULL,
  deployment_guid TEXT
);
CREATE UNIQUE INDEX processes_1 ON processes (app_guid, type, COALESCE(deployment_guid, ''));
CREATE INDEX processes_2 ON processes (space_guid);
CREATE TABLE packages (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  app_guid TEXT NOT NULL REFERENCES apps(guid) ON DELETE CASCADE,
  space_guid TEXT NOT NULL REFERENCES spaces(guid) ON DELETE CASCADE,
  type TEXT NOT NULL,
  state TEXT NOT NULL
);
CREATE INDEX packages_1 ON packages (app_guid);
CREATE INDEX packages_2 ON packages (space_guid);
CREATE TABLE builds (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  app_guid TEXT NOT NULL REFERENCES apps(guid) ON DELETE CASCADE,
  space_guid TEXT NOT NULL REFERENCES spaces(guid) ON DELETE CASCADE,
  package_guid TEXT NOT NULL,
  droplet_guid TEXT,
  state TEXT NOT NULL
);
CREATE INDEX builds_1 ON builds (app_guid);
CREATE INDEX builds_2 ON builds (space_guid);
CREATE TABLE droplets (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  app_guid TEXT NOT NULL REFERENCES apps(guid) ON DELETE CASCADE,
  space_guid TEXT NOT NULL REFERENCES spaces(guid) ON DELETE CASCADE,
  package_guid TEXT,
  state TEXT NOT NULL
);
CREATE INDEX droplets_1 ON droplets (app_guid);
CREATE INDEX droplets_2 ON droplets (space_guid);
CREATE TABLE deployments (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  app_guid TEXT NOT NULL REFERENCES apps(guid) ON DELETE CASCADE,
  space_guid TEXT NOT NULL REFERENCES spaces(guid) ON DELETE CASCADE,
  status_value TEXT NOT NULL,
  status_reason TEXT NOT NULL
);
CREATE INDEX deployments_1 ON deployments (app_guid);
CREATE INDEX deployments_2 ON deployments (space_guid);
CREATE TABLE revisions (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  app_guid TEXT NOT NULL REFERENCES apps(guid) ON DELETE CASCADE,
  space_guid TEXT NOT NULL REFERENCES spaces(guid) ON DELETE CASCADE,
  version BIGINT NOT NULL
);
CREATE UNIQUE INDEX revisions_1 ON revisions (app_guid, version);
CREATE INDEX revisions_2 ON revisions (space_guid);
CREATE TABLE tasks (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  app_guid TEXT NOT NULL REFERENCES apps(guid) ON DELETE CASCADE,
  space_guid TEXT NOT NULL REFERENCES spaces(guid) ON DELETE CASCADE,
  name TEXT NOT NULL,
  state TEXT NOT NULL,
  sequence_id BIGINT NOT NULL
);
CREATE UNIQUE INDEX tasks_1 ON tasks (app_guid, sequence_id);
CREATE INDEX tasks_2 ON tasks (space_guid);
CREATE TABLE domains (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  name TEXT NOT NULL,
  internal BIGINT NOT NULL,
  organization_guid TEXT REFERENCES organizations(guid) ON DELETE CASCADE
);
CREATE UNIQUE INDEX domains_1 ON domains (name);
CREATE INDEX domains_2 ON domains (organization_guid);
CREATE TABLE domain_shares (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  domain_guid TEXT NOT NULL REFERENCES domains(guid) ON DELETE CASCADE,
  organization_guid TEXT NOT NULL REFERENCES organizations(guid) ON DELETE CASCADE
);
CREATE UNIQUE INDEX domain_shares_1 ON domain_shares (domain_guid, organization_guid);
CREATE TABLE routes (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  space_guid TEXT NOT NULL REFERENCES spaces(guid) ON DELETE CASCADE,
  domain_guid TEXT NOT NULL REFERENCES domains(guid) ON DELETE CASCADE,
  host TEXT NOT NULL,
  path TEXT NOT NULL
);
CREATE UNIQUE INDEX routes_1 ON routes (domain_guid, host, path);
CREATE INDEX routes_2 ON routes (space_guid);
CREATE TABLE destinations (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  route_guid TEXT NOT NULL REFERENCES routes(guid) ON DELETE CASCADE,
  app_guid TEXT NOT NULL REFERENCES apps(guid) ON DELETE CASCADE,
  process_type TEXT NOT NULL,
  port BIGINT NOT NULL,
  protocol TEXT NOT NULL
);
CREATE UNIQUE INDEX destinations_1 ON destinations (route_guid, app_guid, process_type, port);
CREATE INDEX destinations_2 ON destinations (app_guid);
CREATE TABLE security_groups (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  name TEXT NOT NULL,
  running_default BIGINT NOT NULL,
  staging_default BIGINT NOT NULL
);
CREATE UNIQUE INDEX security_groups_1 ON security_groups (name);
CREATE TABLE group_bindings (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  group_guid TEXT NOT NULL REFERENCES security_groups(guid) ON DELETE CASCADE,
  space_guid TEXT NOT NULL REFERENCES spaces(guid) ON DELETE CASCADE,
  stage TEXT NOT NULL
);
CREATE UNIQUE INDEX group_bindings_1 ON group_bindings (group_guid, space_guid, stage);
CREATE INDEX group_bindings_2 ON group_bindings (space_guid);
CREATE TABLE service_instances (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  name TEXT NOT NULL,
  space_guid TEXT NOT NULL REFERENCES spaces(guid) ON DELETE CASCADE,
  type TEXT NOT NULL
);
CREATE UNIQUE INDEX service_instances_1 ON service_instances (space_guid, name);
CREATE TABLE service_bindings (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  name TEXT NOT NULL,
  type TEXT NOT NULL,
  app_guid TEXT REFERENCES apps(guid) ON DELETE CASCADE,
  service_instance_guid TEXT NOT NULL REFERENCES service_instances(guid) ON DELETE CASCADE,
  space_guid TEXT NOT NULL REFERENCES spaces(guid) ON DELETE CASCADE
);
CREATE UNIQUE INDEX service_bindings_1 ON service_bindings (app_guid, service_instance_guid);
CREATE INDEX service_bindings_2 ON service_bindings (service_instance_guid);
CREATE INDEX service_bindings_3 ON service_bindings (space_guid);
CREATE TABLE audit_events (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  type TEXT NOT NULL,
  target_guid TEXT NOT NULL,
  space_guid TEXT,
  organization_guid TEXT
);
CREATE INDEX audit_events_1 ON audit_events (target_guid, created_at);
CREATE INDEX audit_events_2 ON audit_events (created_at);
CREATE TABLE jobs (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  state TEXT NOT NULL,
  operation TEXT NOT NULL
);
CREATE INDEX jobs_1 ON jobs (created_at);
CREATE TABLE settings (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL
);
CREATE TABLE accounts (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  username TEXT NOT NULL,
  origin TEXT NOT NULL
);
CREATE UNIQUE INDEX accounts_1 ON accounts (username, origin);
CREATE TABLE clients (
  guid TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  doc TEXT NOT NULL
);
-- +goose Down
DROP TABLE clients;
DROP TABLE accounts;
DROP TABLE settings;
DROP TABLE jobs;
DROP TABLE audit_events;
DROP TABLE service_bindings;
DROP TABLE service_instances;
DROP TABLE group_bindings;
DROP TABLE security_groups;
DROP TABLE destinations;
DROP TABLE routes;
DROP TABLE domain_shares;
DROP TABLE domains;
DROP TABLE tasks;
DROP TABLE revisions;
DROP TABLE deployments;
DROP TABLE droplets;
DROP TABLE builds;
DROP TABLE packages;
DROP TABLE processes;
DROP TABLE apps;
DROP TABLE roles;
DROP TABLE users;
DROP TABLE spaces;
DROP TABLE organizations;
DROP TABLE quotas;
