resource "google_pubsub_topic" "events" {
  #checkov:skip=CKV_GCP_83: encrypted with Google's keys; keys of one's own can be added, at the price of one more thing to lose
  name                       = "${var.name}-events"
  message_retention_duration = "604800s" # a week, for a consumer that must read again
  depends_on                 = [google_project_service.api]
}

resource "google_pubsub_topic" "dead_letters" {
  #checkov:skip=CKV_GCP_83: encrypted with Google's keys; keys of one's own can be added, at the price of one more thing to lose
  name       = "${var.name}-dead-letters"
  depends_on = [google_project_service.api]
}

# What the consumer reads; the service names it so: TOPIC-GROUP.
resource "google_pubsub_subscription" "usage" {
  name                         = "${google_pubsub_topic.events.name}-usage"
  topic                        = google_pubsub_topic.events.id
  ack_deadline_seconds         = 60
  message_retention_duration   = "604800s"
  enable_message_ordering      = true
  enable_exactly_once_delivery = false # the consumer counts an event's id once

  expiration_policy {
    ttl = ""
  }

  retry_policy {
    minimum_backoff = "1s"
    maximum_backoff = "60s"
  }

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead_letters.id
    max_delivery_attempts = 100 # the most there is: what is given to a consumer that dies counts too
  }
}

# Keeps the dead letters for somebody to look at.
resource "google_pubsub_subscription" "dead_letters" {
  name                       = google_pubsub_topic.dead_letters.name
  topic                      = google_pubsub_topic.dead_letters.id
  message_retention_duration = "2678400s"

  expiration_policy {
    ttl = ""
  }
}

# Pub/Sub itself moves dead letters: its service agent publishes them and takes them off the subscription.
locals {
  pubsub_agent = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
}

resource "google_pubsub_topic_iam_member" "agent_publishes_dead_letters" {
  topic  = google_pubsub_topic.dead_letters.id
  role   = "roles/pubsub.publisher"
  member = local.pubsub_agent
}

resource "google_pubsub_subscription_iam_member" "agent_takes_dead_letters" {
  subscription = google_pubsub_subscription.usage.name
  role         = "roles/pubsub.subscriber"
  member       = local.pubsub_agent
}
