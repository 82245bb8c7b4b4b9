data "google_project" "this" {}

locals {
  apis = [
    "artifactregistry", "billingbudgets", "cloudbuild", "cloudresourcemanager", "compute", "iam", "logging", "monitoring",
    "ondemandscanning", "pubsub", "redis", "run", "secretmanager", "servicenetworking", "sqladmin", "storage", "vpcaccess",
  ]
}

resource "google_project_service" "api" {
  for_each           = toset(local.apis)
  service            = "${each.key}.googleapis.com"
  disable_on_destroy = false # other things in the project may use them
}
