"""The workflow of a release: proposed, judged by people, published, authorised, retired."""
