# One account for each program, each with what that program does and nothing else.
resource "google_service_account" "this" {
  for_each = {
    api      = "serves requests and publishes events"
    consumer = "reads events and keeps the usage totals"
    migrate  = "brings the database's tables up to date"
    build    = "builds, tests and releases images"
  }
  account_id   = "${var.name}-${each.key}"
  display_name = "${var.name}: ${each.value}"
  depends_on   = [google_project_service.api]
}

locals {
  api      = google_service_account.this["api"].member
  consumer = google_service_account.this["consumer"].member
  build    = google_service_account.this["build"].member
}

resource "google_pubsub_topic_iam_member" "api_publishes" {
  topic  = google_pubsub_topic.events.id
  role   = "roles/pubsub.publisher"
  member = local.api
}

# /readyz looks whether the consumer's subscription is there: what is published without one is lost.
resource "google_pubsub_subscription_iam_member" "api_looks" {
  subscription = google_pubsub_subscription.usage.name
  role         = "roles/pubsub.viewer"
  member       = local.api
}

# The sidecar, which is the service's account too: the roles that Google names as its least. The service itself logs to
# its output, which needs none.
resource "google_project_iam_member" "api_measures" {
  for_each = var.prometheus ? toset(["roles/logging.logWriter", "roles/monitoring.metricWriter"]) : []
  project  = var.project_id
  role     = each.key
  member   = local.api
}

resource "google_pubsub_subscription_iam_member" "consumer" {
  for_each     = toset(["roles/pubsub.subscriber", "roles/pubsub.viewer"])
  subscription = google_pubsub_subscription.usage.name
  role         = each.key
  member       = local.consumer
}

resource "google_artifact_registry_repository_iam_member" "build_pushes" {
  repository = google_artifact_registry_repository.images.name
  location   = var.region
  role       = "roles/artifactregistry.writer"
  member     = local.build
}

resource "google_project_iam_member" "build" {
  for_each = toset(["roles/logging.logWriter", "roles/ondemandscanning.admin", "roles/run.developer"])
  project  = var.project_id
  role     = each.key
  member   = local.build
}

resource "google_service_account_iam_member" "build_deploys_as" {
  for_each           = toset(["api", "consumer", "migrate"])
  service_account_id = google_service_account.this[each.key].name
  role               = "roles/iam.serviceAccountUser"
  member             = local.build
}

# What `gcloud builds submit` uploads.
resource "google_storage_bucket" "source" {
  #checkov:skip=CKV_GCP_62: holds the source for seven days; Cloud Build logs who builds
  #checkov:skip=CKV_GCP_63: the same: it logs nothing, so not to itself either
  name                        = "${var.project_id}-${var.name}-source"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true

  versioning {
    enabled = true
  }

  lifecycle_rule {
    condition {
      age = 7
    }
    action {
      type = "Delete"
    }
  }

  depends_on = [google_project_service.api]
}

resource "google_storage_bucket_iam_member" "build_reads_source" {
  bucket = google_storage_bucket.source.name
  role   = "roles/storage.objectViewer"
  member = local.build
}

# The target of the first apply: all that building an image needs.
resource "terraform_data" "builder" {
  depends_on = [
    google_artifact_registry_repository_iam_member.build_pushes,
    google_project_iam_member.build,
    google_storage_bucket_iam_member.build_reads_source,
  ]
}
