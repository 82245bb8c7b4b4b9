locals {
  stream_url = "pubsub://${var.project_id}/${google_pubsub_topic.events.name}?create=false"

  api_secrets = {
    PYCALC_DATABASE_URL  = google_secret_manager_secret_version.database_role_url["api"]
    PYCALC_CACHE_URL     = google_secret_manager_secret_version.cache_url
    PYCALC_SECRET_KEYS   = google_secret_manager_secret_version.secret_keys
    PYCALC_PASSWORD_KEYS = google_secret_manager_secret_version.password_keys
  }

  migrate_secrets = {
    PYCALC_DATABASE_URL           = google_secret_manager_secret_version.database_url
    PYCALC_DATABASE_API_ROLE      = google_secret_manager_secret_version.database_role["api"]
    PYCALC_DATABASE_CONSUMER_ROLE = google_secret_manager_secret_version.database_role["consumer"]
  }

  api_settings = {
    PYCALC_ENV             = "production"
    PYCALC_STREAM_URL      = local.stream_url
    PYCALC_COMPUTE_WORKERS = tostring(var.cpu)
    PYCALC_TRUSTED_PROXIES = "169.254.0.0/16" # what Cloud Run's front end calls an instance from
    PYCALC_METRICS_PORT    = local.metrics_port
    GOOGLE_CLOUD_PROJECT   = var.project_id # in the log's names of traces
  }

  metrics_port = "9100" # not the container's port, so only the sidecar in the same instance can reach it
}

resource "google_cloud_run_v2_service" "api" {
  name                = var.name
  location            = var.region
  ingress             = "INGRESS_TRAFFIC_ALL"
  deletion_protection = var.deletion_protection

  template {
    service_account                  = google_service_account.this["api"].email
    execution_environment            = "EXECUTION_ENVIRONMENT_GEN2"
    max_instance_request_concurrency = var.concurrency
    timeout                          = "3600s" # GET /events stays open; calculations end by PYCALC_COMPUTE_TIMEOUT

    scaling {
      min_instance_count = var.min_instances
      max_instance_count = var.max_instances
    }

    vpc_access {
      connector = one(local.connectors)
      egress    = "PRIVATE_RANGES_ONLY"
      dynamic "network_interfaces" {
        for_each = local.interfaces
        content {
          network    = google_compute_network.this.id
          subnetwork = network_interfaces.value
        }
      }
    }

    containers {
      name  = "api"
      image = var.image
      args  = ["serve"]

      ports {
        name           = "http1"
        container_port = 8080
      }

      resources {
        limits            = { cpu = tostring(var.cpu), memory = "${var.memory_gib}Gi" }
        cpu_idle          = false # the relay publishes between requests
        startup_cpu_boost = true
      }

      startup_probe {
        period_seconds    = 2
        timeout_seconds   = 1
        failure_threshold = 30
        http_get {
          path = "/health"
        }
      }

      liveness_probe {
        period_seconds    = 10
        timeout_seconds   = 2
        failure_threshold = 3
        http_get {
          path = "/health"
        }
      }

      dynamic "env" {
        for_each = local.api_settings
        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "env" {
        for_each = local.api_secrets
        content {
          name = env.key
          value_source {
            secret_key_ref {
              secret  = env.value.secret
              version = env.value.version
            }
          }
        }
      }

      volume_mounts {
        name       = "redis-ca"
        mount_path = dirname(local.redis_ca_file)
      }

      volume_mounts {
        name       = "database-ca"
        mount_path = dirname(local.database_ca_file)
      }
    }

    # Reads /metrics on the port that its RunMonitoring names.
    dynamic "containers" {
      for_each = var.prometheus ? ["collector"] : []
      content {
        name       = containers.value
        image      = "us-docker.pkg.dev/cloud-ops-agents-artifacts/cloud-run-gmp-sidecar/cloud-run-gmp-sidecar:1.9.2"
        depends_on = ["api"]
        resources {
          limits   = { cpu = "0.25", memory = "256Mi" }
          cpu_idle = false
        }
        volume_mounts {
          name       = "collector"
          mount_path = "/etc/rungmp"
        }
      }
    }

    volumes {
      name = "database-ca"
      secret {
        secret = google_secret_manager_secret_version.database_ca.secret
        items {
          path    = basename(local.database_ca_file)
          version = google_secret_manager_secret_version.database_ca.version
        }
      }
    }

    volumes {
      name = "redis-ca"
      secret {
        secret = google_secret_manager_secret_version.redis_ca.secret
        items {
          path    = basename(local.redis_ca_file)
          version = google_secret_manager_secret_version.redis_ca.version
        }
      }
    }

    dynamic "volumes" {
      for_each = var.prometheus ? ["collector"] : []
      content {
        name = volumes.value
        secret {
          secret = google_secret_manager_secret_version.collector.secret
          items {
            path    = "config.yaml"
            version = google_secret_manager_secret_version.collector.version
          }
        }
      }
    }
  }

  lifecycle {
    ignore_changes = [template[0].containers[0].image, template[0].revision, traffic, client, client_version]
  }

  depends_on = [google_secret_manager_secret_iam_member.reader, google_pubsub_topic_iam_member.api_publishes]
}

resource "google_cloud_run_v2_service_iam_member" "public" {
  count    = var.public ? 1 : 0
  name     = google_cloud_run_v2_service.api.name
  location = var.region
  role     = "roles/run.invoker"
  member   = "allUsers"
}

# Run before the service's first start, and by every release before its new revision starts.
resource "google_cloud_run_v2_job" "migrate" {
  name                = "${var.name}-migrate"
  location            = var.region
  deletion_protection = var.deletion_protection

  template {
    template {
      service_account = google_service_account.this["migrate"].email
      max_retries     = 1
      timeout         = "1800s"

      vpc_access {
        connector = one(local.connectors)
        egress    = "PRIVATE_RANGES_ONLY"
        dynamic "network_interfaces" {
          for_each = local.interfaces
          content {
            network    = google_compute_network.this.id
            subnetwork = network_interfaces.value
          }
        }
      }

      containers {
        image = var.image
        args  = ["migrate"]
        resources {
          limits = { cpu = "1", memory = "512Mi" }
        }
        dynamic "env" {
          for_each = local.migrate_secrets
          content {
            name = env.key
            value_source {
              secret_key_ref {
                secret  = env.value.secret
                version = env.value.version
              }
            }
          }
        }

        volume_mounts {
          name       = "database-ca"
          mount_path = dirname(local.database_ca_file)
        }
      }

      volumes {
        name = "database-ca"
        secret {
          secret = google_secret_manager_secret_version.database_ca.secret
          items {
            path    = basename(local.database_ca_file)
            version = google_secret_manager_secret_version.database_ca.version
          }
        }
      }
    }
  }

  lifecycle {
    ignore_changes = [template[0].template[0].containers[0].image, client, client_version]
  }

  depends_on = [google_secret_manager_secret_iam_member.reader]
}

# Reads the subscription; nobody calls it, so it is a worker pool and not a service.
resource "google_cloud_run_v2_worker_pool" "consumer" {
  name                = "${var.name}-consumer"
  location            = var.region
  launch_stage        = "BETA"
  deletion_protection = var.deletion_protection

  scaling {
    manual_instance_count = var.consumers
  }

  template {
    service_account = google_service_account.this["consumer"].email

    vpc_access {
      egress = "PRIVATE_RANGES_ONLY"
      network_interfaces { # a worker pool knows no connector
        network    = google_compute_network.this.id
        subnetwork = google_compute_subnetwork.run.id
      }
    }

    containers {
      image = var.image
      args  = ["consume"]
      resources {
        limits = { cpu = "1", memory = "512Mi" }
      }
      env {
        name  = "PYCALC_STREAM_URL"
        value = local.stream_url
      }
      env {
        name  = "PYCALC_LOG_FORMAT"
        value = "google"
      }
      env {
        name = "PYCALC_DATABASE_URL"
        value_source {
          secret_key_ref {
            secret  = google_secret_manager_secret_version.database_role_url["consumer"].secret
            version = google_secret_manager_secret_version.database_role_url["consumer"].version
          }
        }
      }

      volume_mounts {
        name       = "database-ca"
        mount_path = dirname(local.database_ca_file)
      }
    }

    volumes {
      name = "database-ca"
      secret {
        secret = google_secret_manager_secret_version.database_ca.secret
        items {
          path    = basename(local.database_ca_file)
          version = google_secret_manager_secret_version.database_ca.version
        }
      }
    }
  }

  lifecycle {
    ignore_changes = [template[0].containers[0].image, template[0].revision, client, client_version]
  }

  depends_on = [google_secret_manager_secret_iam_member.reader, google_pubsub_subscription_iam_member.consumer]
}
