resource "google_monitoring_notification_channel" "email" {
  display_name = "${var.name}: e-mail"
  type         = "email"
  labels       = { email_address = var.alert_email }
  depends_on   = [google_project_service.api]
}

resource "google_monitoring_uptime_check_config" "alive" {
  display_name = "${var.name}: alive"
  period       = "60s"
  timeout      = "10s"

  http_check {
    path         = "/health" # Google's front end keeps paths that end in z
    port         = 443
    use_ssl      = true
    validate_ssl = true
  }

  content_matchers {
    content = "\"ok\""
    matcher = "CONTAINS_STRING"
  }

  monitored_resource {
    type = "uptime_url"
    labels = {
      project_id = var.project_id
      host       = trimprefix(google_cloud_run_v2_service.api.uri, "https://")
    }
  }
}

locals {
  service_filter = join(" AND ", [
    "resource.type = \"cloud_run_revision\"",
    "resource.labels.service_name = \"${google_cloud_run_v2_service.api.name}\"",
    "metric.type = \"run.googleapis.com/%s\"",
  ])
  database_filter     = "resource.type = \"cloudsql_database\" AND resource.labels.database_id = \"${var.project_id}:${google_sql_database_instance.this.name}\" AND metric.type = \"cloudsql.googleapis.com/database/%s\""
  subscription_filter = "resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id = \"%s\" AND metric.type = \"pubsub.googleapis.com/subscription/%s\""
  redis_filter        = "resource.type = \"redis_instance\" AND metric.type = \"redis.googleapis.com/stats/memory/usage_ratio\""

  # What is measured, how its series become one, above which value for how long somebody is told.
  thresholds = {
    slow = {
      says   = "The slowest hundredth of the requests takes over 1 s"
      filter = format(local.service_filter, "request_latencies"), aligner = "ALIGN_DELTA", reducer = "REDUCE_PERCENTILE_99"
      above  = 1000, for = "600s"
    }
    saturated = {
      says   = "Instances are at ${var.max_instances}, their limit"
      filter = format(local.service_filter, "container/instance_count"), aligner = "ALIGN_MAX", reducer = "REDUCE_SUM"
      above  = var.max_instances - 0.5, for = "600s"
    }
    database-cpu = {
      says   = "The database's processor is over 80 %"
      filter = format(local.database_filter, "cpu/utilization"), aligner = "ALIGN_MEAN", reducer = "REDUCE_MAX"
      above  = 0.8, for = "900s"
    }
    database-disk = {
      says   = "The database's disk is over 85 %: it grows by itself, but not beyond database_disk_limit"
      filter = format(local.database_filter, "disk/utilization"), aligner = "ALIGN_MEAN", reducer = "REDUCE_MAX"
      above  = 0.85, for = "300s"
    }
    database-connections = {
      says   = "More than 160 of the database's 200 connections are taken"
      filter = format(local.database_filter, "postgresql/num_backends"), aligner = "ALIGN_MEAN", reducer = "REDUCE_SUM"
      above  = 160, for = "300s"
    }
    redis-memory = {
      says   = "Redis is over 90 % full: results are being evicted"
      filter = local.redis_filter, aligner = "ALIGN_MEAN", reducer = "REDUCE_MAX"
      above  = 0.9, for = "900s"
    }
    consumer-late = {
      says   = "The oldest event waits for the consumer for more than 5 min"
      filter = format(local.subscription_filter, google_pubsub_subscription.usage.name, "oldest_unacked_message_age")
      above  = 300, for = "300s", aligner = "ALIGN_MAX", reducer = "REDUCE_MAX"
    }
    dead-letters = {
      says   = "There are dead letters"
      filter = format(local.subscription_filter, google_pubsub_subscription.dead_letters.name, "num_undelivered_messages")
      above  = 0, for = "0s", aligner = "ALIGN_MAX", reducer = "REDUCE_MAX"
    }
  }
}

resource "google_monitoring_alert_policy" "threshold" {
  for_each              = local.thresholds
  display_name          = "${var.name}: ${each.key}"
  combiner              = "OR"
  notification_channels = [google_monitoring_notification_channel.email.id]

  conditions {
    display_name = each.value.says
    condition_threshold {
      filter          = each.value.filter
      comparison      = "COMPARISON_GT"
      threshold_value = each.value.above
      duration        = each.value.for
      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = each.value.aligner
        cross_series_reducer = each.value.reducer
      }
    }
  }

  documentation {
    content   = "${each.value.says}. See the entry `${each.key}` in docs/deploy-gcp.md."
    mime_type = "text/markdown"
  }
}

resource "google_monitoring_alert_policy" "errors" {
  display_name          = "${var.name}: errors"
  combiner              = "OR"
  notification_channels = [google_monitoring_notification_channel.email.id]

  conditions {
    display_name = "More than 1 % of the requests fail"
    condition_threshold {
      filter             = "${format(local.service_filter, "request_count")} AND metric.labels.response_code_class = \"5xx\""
      denominator_filter = format(local.service_filter, "request_count")
      comparison         = "COMPARISON_GT"
      threshold_value    = 0.01
      duration           = "300s"
      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_RATE"
        cross_series_reducer = "REDUCE_SUM"
      }
      denominator_aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_RATE"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  documentation {
    content   = "More than 1 % of the requests fail. See the entry `errors` in docs/deploy-gcp.md."
    mime_type = "text/markdown"
  }
}

resource "google_monitoring_alert_policy" "down" {
  display_name          = "${var.name}: down"
  combiner              = "OR"
  notification_channels = [google_monitoring_notification_channel.email.id]

  conditions {
    display_name = "The service does not answer from two places in the world"
    condition_threshold {
      filter          = "resource.type = \"uptime_url\" AND metric.type = \"monitoring.googleapis.com/uptime_check/check_passed\" AND metric.labels.check_id = \"${google_monitoring_uptime_check_config.alive.uptime_check_id}\""
      comparison      = "COMPARISON_GT"
      threshold_value = 1
      duration        = "120s"
      aggregations {
        alignment_period     = "120s"
        per_series_aligner   = "ALIGN_NEXT_OLDER"
        cross_series_reducer = "REDUCE_COUNT_FALSE"
        group_by_fields      = ["resource.label.host"]
      }
    }
  }

  documentation {
    content   = "The service does not answer. See the entry `down` in docs/deploy-gcp.md."
    mime_type = "text/markdown"
  }
}

locals {
  # The service's own alerts are Prometheus' rules. Left out: what Google's metrics above tell better (down, errors, slow), the
  # consumer, which has no sidecar, and a rule on the job that compose's Prometheus gives the series.
  left_out = ["PycalcDown", "PycalcErrors", "PycalcSlow", "PycalcConsumerFailing", "PycalcDescriptors"]
  rules = {
    for rule in yamldecode(file("${path.module}/../prometheus/alerts.yml")).groups[0].rules :
    rule.alert => rule if var.prometheus && !contains(local.left_out, rule.alert)
  }
}

resource "google_monitoring_alert_policy" "rule" {
  for_each              = local.rules
  display_name          = "${var.name}: ${each.key}"
  combiner              = "OR"
  severity              = each.value.labels.severity == "page" ? "CRITICAL" : "WARNING"
  notification_channels = [google_monitoring_notification_channel.email.id]

  conditions {
    display_name = each.key
    condition_prometheus_query_language {
      query                     = each.value.expr
      duration                  = "${tonumber(trimsuffix(try(each.value.for, "0m"), "m")) * 60}s"
      evaluation_interval       = "60s"
      disable_metric_validation = true # before the first start there are none
    }
  }

  documentation {
    content   = "See ${each.value.annotations.runbook_url}."
    mime_type = "text/markdown"
  }
}

resource "google_billing_budget" "month" {
  billing_account = var.billing_account
  display_name    = "${var.name}: a month"

  budget_filter {
    projects = ["projects/${data.google_project.this.number}"]
  }

  amount {
    specified_amount {
      units = tostring(var.budget)
    }
  }

  dynamic "threshold_rules" {
    for_each = [0.5, 0.9, 1.0]
    content {
      threshold_percent = threshold_rules.value
    }
  }

  all_updates_rule {
    monitoring_notification_channels = [google_monitoring_notification_channel.email.id]
  }

  depends_on = [google_project_service.api]
}
