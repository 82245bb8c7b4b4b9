# `terraform test` plans only: nothing is made, no credentials are needed.
mock_provider "google" {}

variables {
  project_id      = "pycalc-test-1"
  billing_account = "012345-6789AB-CDEF01"
  alert_email     = "on-call@example.com"
  image           = "europe-west1-docker.pkg.dev/pycalc-test-1/pycalc/pycalc:1"
}

run "defaults" {
  command = plan

  assert {
    condition     = google_cloud_run_v2_service.api.template[0].containers[0].resources[0].cpu_idle == false
    error_message = "The relay needs a processor between requests."
  }
  assert {
    condition     = google_cloud_run_v2_service.api.template[0].scaling[0].min_instance_count >= 1
    error_message = "The relay needs an instance that always runs."
  }
  assert {
    condition     = length(google_vpc_access_connector.this) == 0 && length(google_cloud_run_v2_service.api.template[0].vpc_access[0].network_interfaces) == 1
    error_message = "Direct egress has no connector."
  }
  assert {
    condition     = google_sql_database_instance.this.settings[0].ip_configuration[0].ipv4_enabled == false
    error_message = "The database has no public address."
  }
  assert {
    condition     = google_sql_database_instance.this.settings[0].disk_autoresize && google_sql_database_instance.this.settings[0].disk_autoresize_limit == 100
    error_message = "The disk grows by itself, to a bound."
  }
  assert {
    condition     = google_billing_budget.month.amount[0].specified_amount[0].units == "300"
    error_message = "A budget watches the cost of a month."
  }
  assert {
    condition     = [for secret, reader in google_secret_manager_secret_iam_member.reader : secret if startswith(secret, "consumer-")] == ["consumer-database-ca", "consumer-database-consumer-url"]
    error_message = "The consumer reads the URL of its own role, and the database's certificate authority."
  }
  assert {
    condition     = !contains(keys(google_secret_manager_secret_iam_member.reader), "api-database-url") && !contains(keys(google_secret_manager_secret_iam_member.reader), "api-database-api-role")
    error_message = "The service can't become the role that owns the tables."
  }
}

run "own_metrics" {
  command = plan

  assert {
    condition     = [for container in google_cloud_run_v2_service.api.template[0].containers : container.name] == ["api", "collector"]
    error_message = "The sidecar comes after the service: releases change the first container's image."
  }
  assert {
    condition     = yamldecode(google_secret_manager_secret_version.collector.secret_data).spec.endpoints[0].port == one([for env in google_cloud_run_v2_service.api.template[0].containers[0].env : env.value if env.name == "PYCALC_METRICS_PORT"]) && google_cloud_run_v2_service.api.template[0].containers[0].ports[0].container_port != 9100
    error_message = "The sidecar reads the port that the metrics are on, which is not the service's."
  }
  assert {
    condition     = keys(google_project_iam_member.api_measures) == ["roles/logging.logWriter", "roles/monitoring.metricWriter"]
    error_message = "The sidecar has the roles that it needs, and no others of the project."
  }
  assert {
    condition     = google_monitoring_alert_policy.rule["PycalcRecorderRefusing"].conditions[0].condition_prometheus_query_language[0].duration == "60s"
    error_message = "A rule's `for` is the policy's duration."
  }
  assert {
    condition     = google_monitoring_alert_policy.rule["PycalcWrongResult"].conditions[0].condition_prometheus_query_language[0].duration == "0s"
    error_message = "A rule without `for` is told at once."
  }
  assert {
    condition     = length(setintersection(keys(google_monitoring_alert_policy.rule), local.left_out)) == 0
    error_message = "What Google's own metrics tell is not told twice."
  }
}

run "without_own_metrics" {
  command = plan
  variables {
    prometheus = false
  }

  assert {
    condition     = length(google_cloud_run_v2_service.api.template[0].containers) == 1 && length(google_monitoring_alert_policy.rule) == 0 && length(google_project_iam_member.api_measures) == 0
    error_message = "Without the sidecar nothing is left of it."
  }
}

run "connector" {
  command = plan
  variables {
    vpc_access = "connector"
  }

  assert {
    condition     = length(google_vpc_access_connector.this) == 1 && length(google_cloud_run_v2_service.api.template[0].vpc_access[0].network_interfaces) == 0
    error_message = "The service goes through the connector."
  }
}

run "private" {
  command = plan
  variables {
    public = false
  }

  assert {
    condition     = length(google_cloud_run_v2_service_iam_member.public) == 0
    error_message = "Nobody may call a private service."
  }
}

run "refusals" {
  command = plan
  variables {
    project_id                 = "Not-An-Id"
    billing_account            = "1"
    alert_email                = "nobody"
    image                      = "pycalc:latest"
    region                     = "europe"
    name                       = "Py"
    budget                     = 0
    min_instances              = 0
    cpu                        = 3
    concurrency                = 0
    consumers                  = 0
    vpc_access                 = "public"
    database_tier              = "large"
    redis_gib                  = 0
    database_password          = "short"
    database_api_password      = "short"
    database_consumer_password = "short"
    secret_keys                = "short"
    password_keys              = "short,short"
  }

  expect_failures = [
    var.project_id, var.billing_account, var.alert_email, var.image, var.region, var.name, var.budget, var.min_instances,
    var.cpu, var.concurrency, var.consumers, var.vpc_access, var.database_tier,
    var.redis_gib, var.database_password, var.database_api_password, var.database_consumer_password, var.secret_keys, var.password_keys,
  ]
}

run "refusals_of_what_does_not_fit_together" {
  command = plan
  variables {
    min_instances = 3
    max_instances = 2
    cpu           = 8
    memory_gib    = 2
  }

  expect_failures = [var.max_instances, var.memory_gib]
}
