import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { CodedError, NewTemplate, TemplateId, type Template } from '@vmo/contract';
import { isUniqueViolation, type Database } from '@vmo/db';
import type { Kysely } from 'kysely';
import type { z } from 'zod';
import { audit } from '../auth/index.ts';
import type { Actor } from '../kernel/actor.ts';
import { newId } from '../kernel/ids.ts';
import type { Images } from './images.ts';
import { findImage } from './images-repository.ts';
import { parseTemplateFile } from './template-file.ts';
import * as repository from './templates-repository.ts';
import { withoutLogin, type StoredTemplate } from './templates-repository.ts';

const suffix = '.conf';
const maxFiles = 1000;
const maxFileBytes = 64 * 1024;
/** Names the ids of template files among all UUIDs; made once at random, never changed. */
const idSpace = Buffer.from('8f0d3c1e5b7a4e0c9a516d2f70b4c983', 'hex');

/** UUID version 5 (RFC 9562 §5.5): the same file has the same id after every restart. */
function idOf(name: string): TemplateId {
  const hash = createHash('sha1').update(idSpace).update(name).digest().subarray(0, 16);
  hash.writeUInt8((hash.readUInt8(6) & 0x0f) | 0x50, 6);
  hash.writeUInt8((hash.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = hash.toString('hex');
  return TemplateId.parse(
    [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-'),
  );
}

export interface TemplatesDeps {
  db: Kysely<Database>;
  images: Images;
  /** null: there are no files. */
  configDirectory: string | null;
}

export type Templates = ReturnType<typeof createTemplates>;

export function createTemplates({ db, images, configDirectory }: TemplatesDeps) {
  async function readTemplate(path: string): Promise<StoredTemplate> {
    const name = basename(path, suffix);
    const { size } = await stat(path);
    const tooLarge = size > maxFileBytes ? `it is larger than ${maxFileBytes} bytes` : null;
    const parsed = parseTemplateFile(tooLarge === null ? await readFile(path, 'utf8') : '');
    return {
      id: idOf(name),
      name,
      source: 'file',
      file: path,
      reason: tooLarge ?? parsed.reason,
      cpus: parsed.cpus,
      memoryMib: parsed.memoryMib,
      image: await imageOf(name),
      ...{ diskSizeBytes: null, kernel: null, initrd: null, append: null },
      additionalArguments: parsed.additionalArguments,
      ...{ login: parsed.login, loginUser: parsed.login?.user ?? null },
    };
  }

  /** The image that is called as the template. */
  async function imageOf(name: string): Promise<string | null> {
    for (const extension of ['qcow2', 'img', 'raw']) {
      const image = await findImage(db, `${name}.${extension}`);
      if (image?.kind === 'disk' && image.state === 'ready') return image.name;
    }
    return null;
  }

  async function listFiles(): Promise<StoredTemplate[]> {
    if (configDirectory === null) return [];
    const names = await readdir(configDirectory).catch(() => []);
    const wanted = names
      .filter(
        (name) => name.endsWith(suffix) && NewTemplate.shape.name.safeParse(basename(name, suffix)).success,
      )
      .sort()
      .slice(0, maxFiles);
    if (wanted.length > 0) await images.scan();
    const found = await Promise.all(
      wanted.map((name) => readTemplate(join(configDirectory, name)).catch(() => null)),
    );
    return found.filter((template) => template !== null);
  }

  async function listAll(): Promise<StoredTemplate[]> {
    const all = [...(await repository.listTemplates(db)), ...(await listFiles())];
    return all.sort((a, b) => a.name.localeCompare(b.name));
  }

  return {
    list: async (): Promise<Template[]> => (await listAll()).map(withoutLogin),

    /** @throws CodedError TEMPLATE_NOT_FOUND; VM_IMPOSSIBLE for a file that cannot be used, with the reason */
    async get(id: TemplateId): Promise<StoredTemplate> {
      const template = (await listAll()).find((one) => one.id === id);
      if (!template) throw noSuchTemplate(id);
      if (template.reason !== null) {
        throw new CodedError(
          'VM_IMPOSSIBLE',
          `the template ${template.name} cannot be used: ${template.reason}`,
        );
      }
      return template;
    },

    async add(actor: Actor, template: z.output<typeof NewTemplate>): Promise<Template> {
      try {
        return await db.transaction().execute(async (trx) => {
          const added = await repository.insertTemplate(trx, newId(), template, actor.name);
          await audit.record(trx, actor, 'template.add', added.id, { name: added.name });
          return withoutLogin(added);
        });
      } catch (error) {
        if (!isUniqueViolation(error, 'idx_vm_templates_name')) throw error;
        throw new CodedError('NAME_TAKEN', `there is a template with the name ${template.name} already`);
      }
    },

    async remove(actor: Actor, id: TemplateId): Promise<void> {
      const file = (await listFiles()).find((one) => one.id === id);
      if (file) {
        throw new CodedError('INVALID_INPUT', `${file.name} is a file of yours: remove ${file.file ?? 'it'}`);
      }
      await db.transaction().execute(async (trx) => {
        if (!(await repository.deleteTemplate(trx, id))) throw noSuchTemplate(id);
        await audit.record(trx, actor, 'template.remove', id);
      });
    },
  };
}

const noSuchTemplate = (id: string) => new CodedError('TEMPLATE_NOT_FOUND', `there is no template ${id}`);
