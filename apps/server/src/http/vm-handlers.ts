import type { vmRoutes } from '@vmo/contract';
import type { Vms } from '../vms/index.ts';
import type { Handlers } from './handlers.ts';

/** What happens on each route of machines: one call into their domain. */
export function createVmHandlers(vms: Vms): Pick<Handlers, keyof typeof vmRoutes> {
  return {
    getVmHost: async () => ({ host: await vms.host.get() }),
    getVmHostMetrics: ({ query }) => vms.host.metrics(query),
    probeVmHost: async () => ({ host: await vms.host.tryAgain() }),
    tryVm: (_, { actor }) => vms.tryVm(actor),

    listVms: ({ query }) => vms.list(query),
    createVm: ({ body }, { actor }) => vms.create(actor, body),
    getVm: async ({ params }) => ({ vm: await vms.get(params.vmId) }),
    changeVm: async ({ params, body }, { actor }) => ({ vm: await vms.change(actor, params.vmId, body) }),
    deleteVm: async ({ params, query }, { actor }) => ({
      operation: await vms.remove(actor, params.vmId, query.disks),
    }),
    actOnVm: async ({ params, body }, { actor }) => ({
      operation: await vms.act(actor, params.vmId, body.action),
    }),
    actOnVms: ({ body }, { actor }) => vms.actOnMany(actor, body.vmIds, body.action),
    cloneVm: ({ params, body }, { actor }) => vms.clone(actor, params.vmId, body.name),
    resizeVm: async ({ params, body }, { actor }) => ({
      operation: await vms.resize(actor, params.vmId, body),
    }),
    getVmMetrics: ({ params, query }) => vms.metrics(params.vmId, query),
    getVmScreenshot: async ({ params }, { response }) => {
      const picture = await vms.screenshot(params.vmId);
      response.type('png').send(picture);
    },
    getVmThumbnail: async ({ params }, { response }) => {
      const picture = await vms.thumbnail(params.vmId);
      response.type('png').setHeader('Cache-Control', 'no-store').send(picture);
    },
    listVmOperations: async ({ params }) => ({ operations: await vms.operations(params.vmId) }),
    getOperation: async ({ params }) => ({ operation: await vms.operation(params.operationId) }),

    attachDisk: async ({ params, body }, { actor }) => ({
      operation: await vms.attachDisk(actor, params.vmId, body),
    }),
    detachDisk: async ({ params }, { actor }) => ({
      operation: await vms.detachDisk(actor, params.vmId, params.diskId),
    }),

    listSnapshots: async ({ params }) => ({ snapshots: await vms.snapshots.list(params.vmId) }),
    createSnapshot: ({ params, body }, { actor }) => vms.snapshots.create(actor, params.vmId, body),
    restoreSnapshot: async ({ params }, { actor }) => ({
      operation: await vms.snapshots.restore(actor, params.snapshotId),
    }),
    deleteSnapshot: async ({ params }, { actor }) => ({
      operation: await vms.snapshots.remove(actor, params.snapshotId),
    }),

    listDisks: async () => ({ disks: await vms.disks.list() }),
    createDisk: async ({ body }, { actor }) => ({ disk: await vms.disks.create(actor, body) }),
    getDisk: async ({ params }) => ({ disk: await vms.disks.get(params.diskId) }),
    resizeDisk: ({ params, body }, { actor }) => vms.disks.resize(actor, params.diskId, body),
    deleteDisk: ({ params }, { actor }) => vms.disks.remove(actor, params.diskId).then(() => undefined),

    listImages: async () => ({ images: await vms.images.list() }),
    createImage: async ({ body }, { actor }) => ({ image: await vms.images.announce(actor, body) }),
    getImage: async ({ params }) => ({ image: await vms.images.get(params.imageName) }),
    putImageBytes: async ({ params, query }, { actor, request }) => ({
      image: await vms.images.putBytes(actor, params.imageName, query.offset, request),
    }),
    deleteImage: ({ params }, { actor }) => vms.images.remove(actor, params.imageName).then(() => undefined),

    listTemplates: async () => ({ templates: await vms.templates.list() }),
    createTemplate: async ({ body }, { actor }) => ({ template: await vms.templates.add(actor, body) }),
    deleteTemplate: ({ params }, { actor }) =>
      vms.templates.remove(actor, params.templateId).then(() => undefined),
  };
}
