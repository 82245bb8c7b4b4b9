locals {
  database_host = google_sql_database_instance.this.private_ip_address
  # The certificate's name is not the address, so the authority is verified, which is this instance's own.
  database_path    = "${local.database_host}:5432/${google_sql_database.this.name}?sslmode=verify-ca&sslrootcert=${local.database_ca_file}"
  database_ca_file = "/secrets/database/ca.pem"
  database_roles   = { api = "pycalc_api", consumer = "pycalc_consumer" }
  database_passwords = {
    api      = var.database_api_password
    consumer = var.database_consumer_password
  }
  redis         = google_redis_instance.this
  redis_ca_file = "/secrets/redis/ca.pem"
  redis_address = "rediss://:${local.redis.auth_string}@${local.redis.host}:${local.redis.port}/0"

  # name of the secret -> which of the programs may read it
  secrets = {
    "database-url"           = ["migrate"]
    "database-api-url"       = ["api"]
    "database-consumer-url"  = ["consumer"]
    "database-api-role"      = ["migrate"]
    "database-consumer-role" = ["migrate"]
    "database-ca"            = ["api", "consumer", "migrate"]
    "cache-url"              = ["api"]
    "redis-ca"               = ["api"]
    "secret-keys"            = ["api"]
    "password-keys"          = ["api"]
    "collector"              = ["api"]   # no secret: a file for the sidecar, which Cloud Run mounts from here
    "smoke-key"              = ["build"] # an API key for the smoke test of a release; its value is added by hand
  }
}

resource "google_secret_manager_secret" "this" {
  for_each  = local.secrets
  secret_id = "${var.name}-${each.key}"

  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }

  depends_on = [google_project_service.api]
}

# Write-only: these values are in no state and no plan.
resource "google_secret_manager_secret_version" "database_url" {
  secret                 = google_secret_manager_secret.this["database-url"].id
  secret_data_wo         = "postgresql://${google_sql_user.this.name}:${coalesce(var.database_password, "unset")}@${local.database_path}"
  secret_data_wo_version = var.secrets_version
}

resource "google_secret_manager_secret_version" "database_role_url" {
  for_each               = local.database_roles
  secret                 = google_secret_manager_secret.this["database-${each.key}-url"].id
  secret_data_wo         = "postgresql://${each.value}:${coalesce(local.database_passwords[each.key], "unset")}@${local.database_path}"
  secret_data_wo_version = var.secrets_version
}

# What the migration creates the role from.
resource "google_secret_manager_secret_version" "database_role" {
  for_each               = local.database_roles
  secret                 = google_secret_manager_secret.this["database-${each.key}-role"].id
  secret_data_wo         = "${each.value}:${coalesce(local.database_passwords[each.key], "unset")}"
  secret_data_wo_version = var.secrets_version
}

resource "google_secret_manager_secret_version" "database_ca" {
  secret      = google_secret_manager_secret.this["database-ca"].id
  secret_data = google_sql_database_instance.this.server_ca_cert[0].cert
}

resource "google_secret_manager_secret_version" "secret_keys" {
  secret                 = google_secret_manager_secret.this["secret-keys"].id
  secret_data_wo         = var.secret_keys
  secret_data_wo_version = var.secrets_version
}

resource "google_secret_manager_secret_version" "password_keys" {
  secret                 = google_secret_manager_secret.this["password-keys"].id
  secret_data_wo         = var.password_keys
  secret_data_wo_version = var.secrets_version
}

resource "google_secret_manager_secret_version" "cache_url" {
  secret                 = google_secret_manager_secret.this["cache-url"].id
  secret_data_wo         = "${local.redis_address}?ssl_ca_certs=${local.redis_ca_file}&ssl_check_hostname=false" # an authority of its own
  secret_data_wo_version = var.secrets_version
}

resource "google_secret_manager_secret_version" "redis_ca" {
  secret      = google_secret_manager_secret.this["redis-ca"].id
  secret_data = local.redis.server_ca_certs[0].cert
}

resource "google_secret_manager_secret_version" "collector" {
  secret = google_secret_manager_secret.this["collector"].id
  secret_data = yamlencode({
    apiVersion = "monitoring.googleapis.com/v1beta"
    kind       = "RunMonitoring"
    metadata   = { name = "pycalc" }
    spec       = { endpoints = [{ port = local.metrics_port, path = "/metrics", interval = "30s" }] }
  })
}

locals {
  readers = merge([
    for secret, programs in local.secrets : { for program in programs : "${program}-${secret}" => [program, secret] }
  ]...)
}

resource "google_secret_manager_secret_iam_member" "reader" {
  for_each  = local.readers
  secret_id = google_secret_manager_secret.this[each.value[1]].id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.this[each.value[0]].member
}
