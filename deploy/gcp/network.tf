resource "google_compute_network" "this" {
  name                    = var.name
  auto_create_subnetworks = false
  depends_on              = [google_project_service.api]
}

resource "google_compute_firewall" "deny" {
  name          = "${var.name}-deny"
  network       = google_compute_network.this.name
  description   = "Nothing in this network is called from outside."
  direction     = "INGRESS"
  priority      = 65534
  source_ranges = ["0.0.0.0/0"]

  deny {
    protocol = "all"
  }

  log_config {
    metadata = "INCLUDE_ALL_METADATA"
  }
}

resource "google_compute_subnetwork" "run" {
  name                     = "${var.name}-run"
  network                  = google_compute_network.this.id
  region                   = var.region
  ip_cidr_range            = "10.10.0.0/24" # direct egress takes up to two addresses an instance while revisions change
  private_ip_google_access = true

  log_config {
    aggregation_interval = "INTERVAL_10_MIN"
    flow_sampling        = 0.1
    metadata             = "INCLUDE_ALL_METADATA"
  }
}

# Database and Redis live in a network of Google's, which is peered with this one.
resource "google_compute_global_address" "services" {
  name          = "${var.name}-services"
  purpose       = "VPC_PEERING"
  address_type  = "INTERNAL"
  prefix_length = 20
  network       = google_compute_network.this.id
}

resource "google_service_networking_connection" "services" {
  network                 = google_compute_network.this.id
  service                 = "servicenetworking.googleapis.com"
  reserved_peering_ranges = [google_compute_global_address.services.name]
}

resource "google_vpc_access_connector" "this" {
  count         = var.vpc_access == "connector" ? 1 : 0
  name          = var.name
  region        = var.region
  network       = google_compute_network.this.name
  ip_cidr_range = "10.10.1.0/28"
  machine_type  = "e2-micro"
  min_instances = 2
  max_instances = 3
}

locals {
  connectors = google_vpc_access_connector.this[*].id
  interfaces = var.vpc_access == "direct" ? [google_compute_subnetwork.run.id] : []
}
