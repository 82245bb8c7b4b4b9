resource "google_sql_database_instance" "this" {
  name                = var.name
  region              = var.region
  database_version    = "POSTGRES_17"
  deletion_protection = var.deletion_protection

  #checkov:skip=CKV_GCP_79: the major version that compose.yaml has too
  #checkov:skip=CKV_GCP_6: every connection is encrypted and needs the password; client certificates would be one more secret
  #checkov:skip=CKV_GCP_108: a look-up of the client's name would slow down each new connection; addresses are logged
  #checkov:skip=CKV_GCP_110: the users are the service's programs, which keep an audit log of their own; auditing each INSERT would double the log
  #checkov:skip=CKV2_GCP_13: a line for each of thousands of statements a second; Query Insights shows the slow ones
  settings {
    edition                     = "ENTERPRISE"
    tier                        = var.database_tier
    availability_type           = var.highly_available ? "REGIONAL" : "ZONAL"
    disk_type                   = "PD_SSD"
    disk_size                   = 10
    disk_autoresize             = true
    disk_autoresize_limit       = var.database_disk_limit
    deletion_protection_enabled = var.deletion_protection

    ip_configuration {
      ipv4_enabled    = false
      private_network = google_compute_network.this.id
      ssl_mode        = "ENCRYPTED_ONLY"
    }

    backup_configuration {
      enabled                        = true
      start_time                     = "02:00"
      point_in_time_recovery_enabled = true
      transaction_log_retention_days = 7
      backup_retention_settings {
        retained_backups = 14
      }
    }

    maintenance_window {
      day          = 7
      hour         = 3
      update_track = "stable"
    }

    insights_config {
      query_insights_enabled = true
    }

    dynamic "database_flags" {
      for_each = {
        max_connections            = "200" # 13 instances of 13, the consumers, a migration
        log_checkpoints            = "on"
        log_connections            = "on"
        log_disconnections         = "on"
        log_lock_waits             = "on"
        log_temp_files             = "0"
        log_statement              = "ddl"
        log_min_error_statement    = "error"
        log_min_duration_statement = "-1"
      }
      content {
        name  = database_flags.key
        value = database_flags.value
      }
    }
  }

  depends_on = [google_service_networking_connection.services]
}

resource "google_sql_database" "this" {
  name     = "pycalc"
  instance = google_sql_database_instance.this.name
}

# The migrations' role, which owns the tables. It creates the two roles of the programs: a user made here would be a member
# of cloudsqlsuperuser.
resource "google_sql_user" "this" {
  name                = "pycalc"
  instance            = google_sql_database_instance.this.name
  password_wo         = var.database_password
  password_wo_version = var.secrets_version
}
