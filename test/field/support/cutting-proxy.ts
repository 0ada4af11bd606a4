import { type ProxiedConnection, startTcpProxy, type TcpProxy } from '../../support/tcp-proxy.ts';

/** What stands between a host and its database, tells our connections from the host's, and cuts them. */
export interface CuttingProxy extends TcpProxy {
  /** Ends every connection of ours without a word. Returns how many there were. */
  cut(): number;
  /** The most connections of ours at one time. */
  most(): number;
}

/** What our connections are called as they begin: a startup message is names and values with a zero byte after each. */
const OURS = 'application_name\0longtail';

export async function startCuttingProxy(targetUrl: string): Promise<CuttingProxy> {
  const ours = new Set<ProxiedConnection>();
  let most = 0;
  const proxy = await startTcpProxy(targetUrl, {
    onRequest: (bytes, connection) => {
      if (!bytes.includes(OURS)) return;
      ours.add(connection);
      most = Math.max(most, ours.size);
    },
    onClose: (connection) => ours.delete(connection),
  });
  return {
    ...proxy,
    cut() {
      const open = [...ours];
      for (const connection of open) connection.destroy();
      return open.length;
    },
    most: () => most,
  };
}
