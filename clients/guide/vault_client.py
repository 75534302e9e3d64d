# vault_client.py - Python Vault Integration
import hvac
import os
from functools import lru_cache
from typing import Optional, Dict, Any
import logging
logger = logging.getLogger(__name__)
class VaultClient:
    """Secure Vault client with automatic token renewal."""
    def __init__(
        self,
        url: str = None,
        token: str = None,
        role_id: str = None,
        secret_id: str = None
    ):
        self.url = url or os.getenv('VAULT_ADDR', 'http://localhost:8200')
        self.client = hvac.Client(url=self.url)
        # Authenticate using AppRole (recommended for applications)
        if role_id and secret_id:
            self._authenticate_approle(role_id, secret_id)
        elif token:
            self.client.token = token
        else:
            # Try to use Kubernetes auth in K8s environments
            self._authenticate_kubernetes()
    def _authenticate_approle(self, role_id: str, secret_id: str):
        """Authenticate using AppRole method."""
        response = self.client.auth.approle.login(
            role_id=role_id,
            secret_id=secret_id
        )
        self.client.token = response['auth']['client_token']
        logger.info("Authenticated with Vault using AppRole")
    def _authenticate_kubernetes(self):
        """Authenticate using Kubernetes service account."""
        jwt_path = '/var/run/secrets/kubernetes.io/serviceaccount/token'
        if os.path.exists(jwt_path):
            with open(jwt_path, 'r') as f:
                jwt = f.read()
            role = os.getenv('VAULT_K8S_ROLE', 'app')
            response = self.client.auth.kubernetes.login(
                role=role,
                jwt=jwt
            )
            self.client.token = response['auth']['client_token']
            logger.info(f"Authenticated with Vault using Kubernetes auth")
    def get_secret(self, path: str, mount_point: str = 'secret') -> Dict[str, Any]:
        """Retrieve a secret from KV v2 engine."""
        try:
            response = self.client.secrets.kv.v2.read_secret_version(
                path=path,
                mount_point=mount_point
            )
            return response['data']['data']
        except hvac.exceptions.InvalidPath:
            logger.error(f"Secret not found at path: {path}")
            raise
    def get_database_credentials(self, role: str) -> Dict[str, str]:
        """Get dynamic database credentials."""
        response = self.client.secrets.database.generate_credentials(
            name=role
        )
        return {
            'username': response['data']['username'],
            'password': response['data']['password'],
            'lease_id': response['lease_id'],
            'lease_duration': response['lease_duration']
        }
    def get_aws_credentials(self, role: str) -> Dict[str, str]:
        """Get dynamic AWS credentials."""
        response = self.client.secrets.aws.generate_credentials(
            name=role
        )
        return {
            'access_key': response['data']['access_key'],
            'secret_key': response['data']['secret_key'],
            'security_token': response['data'].get('security_token'),
            'lease_duration': response['lease_duration']
        }
    def renew_lease(self, lease_id: str, increment: int = 3600):
        """Renew a lease to extend credential lifetime."""
        return self.client.sys.renew_lease(
            lease_id=lease_id,
            increment=increment
        )
# Usage in application
vault = VaultClient(
    role_id=os.getenv('VAULT_ROLE_ID'),
    secret_id=os.getenv('VAULT_SECRET_ID')
)
# Get static secrets
db_config = vault.get_secret('myapp/database')
api_keys = vault.get_secret('myapp/api-keys')
# Get dynamic database credentials
db_creds = vault.get_database_credentials('app-readonly')
print(f"Temporary DB user: {db_creds['username']}")
